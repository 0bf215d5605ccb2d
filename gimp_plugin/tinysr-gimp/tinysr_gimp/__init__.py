"""TinySR in GIMP 3. Standard library and gi only: the network runs in a child process, the worker, in another Python.

`geometry` and `worker_client` use nothing of GIMP. `sources`, `look`, `text`, `pixels` and `placement` move pictures
out of GIMP and back. `snapshot` notices changes during a run, and `enlarge` is one run. `procedure`, `choices`,
`options`, `dialog` and `preview` are what the user meets.
"""
