def bombs(say, *, quick):
    raise NotImplementedError
