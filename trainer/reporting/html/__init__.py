"""A run as one HTML page, from the files of its workdir alone.

Modules find the values, and Jinja templates of templates/ have all of the markup:
page.html includes macros.html, style.css, and a chart.svg for each metric.

page       the page
rendering  templates, with their values escaped
run_files  files of a workdir, read without TensorFlow
charts     curves as SVG
tables     tables of metrics and scores, rows of the dataset and of provenance
texts      values as text
work_time  hours at work, by the event files
"""
