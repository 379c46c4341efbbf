"""From the bytes of an image file to a square image in [-1, 1].

squares        decode, crop, resize and scale; why an image is rejected
rgb            any image file as upright RGB pixels
rare_forms     forms that Pillow opens and shows with wrong colours
jpeg_damage    damage that libjpeg decodes with only a warning
resizing       resizing as Pillow and as TensorFlow 1 do it
filters        weights of the input pixels in each output pixel
resize_loops   the loops over pixels, compiled by Numba
user_function  the user's own function on pixels, --preprocess=MODULE:FUNCTION
"""
