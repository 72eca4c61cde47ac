"""The composition root: settings become a runtime, a runtime becomes a process. Only this knows everything.

`compilation` turns settings into what the line needs and opens nothing; `gateway check` stops there.
`process` opens sockets, files and connections, serves, drains and closes.
"""
