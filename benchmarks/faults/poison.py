def poison(say, *, quick):
    raise NotImplementedError
