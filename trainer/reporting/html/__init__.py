"""The HTML page of a run, from the files of its workdir alone."""
