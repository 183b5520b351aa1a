"""`tool.py NAME ARGUMENTS...`: the program of that name, as stand_ins.py plays it.

Apart from it, since Python keeps what it compiled of a module, and not of a program: some hundred
calls a build would each compile it anew.
"""

import stand_ins

stand_ins.main()
