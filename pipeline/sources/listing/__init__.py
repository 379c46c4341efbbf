"""Image files in folders, archives, patterns and lists.

archives       image files of a zip archive
folder_reader  image files of a folder, local or in a bucket
image_files    image files of a folder, a pattern or a list
patterns       files below a directory whose paths match a pattern
file_states    sizes and times that show whether a file changed after it was listed
read_ahead     files of a bucket, read ahead by a few threads
byproducts     thumbnails and sidecars that other programs keep beside photographs
copies         leaves out copies of files, found by size and sha256
"""
