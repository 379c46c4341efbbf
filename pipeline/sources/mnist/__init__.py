"""MNIST and datasets of the same form: Fashion-MNIST, KMNIST.

mnist         the source, in any of the forms idx, npz and tfds_records
arrays        checks images and labels in arrays, the common form of all files
idx           the four idx files
npz           Keras's npz of four arrays
tfds_records  TFRecord files of TensorFlow Datasets
binarized     source: statically binarised MNIST, in text files
"""
