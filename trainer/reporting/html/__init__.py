"""A run as one HTML page, from the files of its workdir alone.

page       the page
run_files  files of a workdir, read without TensorFlow
charts     curves as SVG
tables     tables of metrics, scores, settings
texts      values as text
style      style sheet
work_time  hours at work, by the event files
"""
