"""CelebA in the layouts in which it is distributed.

celeba          the source: images, partition, labels
download        the files of a download: partition, lists, images
celeba_parquet  images and labels of Parquet files, as Hugging Face has them
celeba_columns  columns of these files
parquet_files   Parquet files, opened and checked
parquet_reader  reads one image of a Parquet file
labels          label files in the official text format
label_tables    label files as CSV, turned into the official text
attributes      the names of the forty attributes and of the landmarks
"""
