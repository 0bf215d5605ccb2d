"""TinySR in GIMP 3. Standard library and gi only: the network runs in a child process with another Python.

`geometry` and `worker_client` know nothing of GIMP; `sources`, `look`, `pixels` and `placement` move pictures out of it
and back; `snapshot` notices what changes meanwhile; `enlarge` is one run, from the first to the last; `procedure`,
`choices`, `options`, `dialog` and `preview` are what the user meets.
"""
