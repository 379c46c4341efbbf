"""Synthetic faces with true attributes, in the layout of CelebA.

factors     factors of a face, drawn from its index
attributes  CelebA's attributes of a face
face        a whole face, as JPEG
drawings    faces with their labels, drawn by several processes
layout      a folder in CelebA's layout
canvas      coverage, blending, colours, noise
frame       place of the head and of its parts
light       light and the colours in it
scene       background, neck, clothes
head        head, ears and skin
hair        hair behind and before the head
eyes        eyes and brows
mouth       lips and teeth
beard       beard
glasses     glasses
"""
