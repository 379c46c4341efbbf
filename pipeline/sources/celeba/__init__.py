"""CelebA, in the layouts of its distributors.

celeba          the source: images, partition, labels
download        finds the files of a download: partition, lists, images
celeba_parquet  images and labels in Parquet files, as Hugging Face distributes them
celeba_columns  finds and reads the columns of Parquet files
parquet_files   finds, opens and checks Parquet files
parquet_reader  reads single images of a Parquet file
labels          label files in the official text format
label_tables    converts label files in CSV to the official text
attributes      names of the forty attributes and of the landmarks
"""
