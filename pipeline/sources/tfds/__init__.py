"""Images that TensorFlow Datasets prepared."""
