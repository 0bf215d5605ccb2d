"""TinySR in GIMP 3. Standard library and gi only: the network runs in a child process with another Python.

`geometry` and `worker_client` know nothing of GIMP; `sources`, `pixels` and `placement` move pictures out of it and
back; `enlarge` is one run, from the first to the last; `procedure` and `dialog` are what the user meets.
"""
