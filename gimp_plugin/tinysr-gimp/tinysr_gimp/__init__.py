"""TinySR in GIMP 3. Standard library and gi only: the network runs in a child process with another Python.

`geometry` and `worker_client` know nothing of GIMP; `sources`, `pixels` and `placement` move pictures out of it and back;
`dialog` asks; `procedure` puts them together.
"""
