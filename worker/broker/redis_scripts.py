"""How a message leaves its queue: in one step on the server, so that it is never in a dying worker's hands alone.

Celery's Redis transport pops a message and then writes down that it did. A worker that is frozen between the two, and
killed, takes the message with it. Here one script moves it from its list to the hash ``dlr.taken``; once it stands
among Celery's unacknowledged messages it leaves the hash. What stays there is put back where it came from.
"""

from typing import Final

from redis import Redis

TAKEN: Final = "dlr.taken"
"""Hash of what was taken and is not yet among the unacknowledged messages: name -> time, list and message."""

NOTHING: Final = "dlr.nothing"
"""A list that is always empty: to wait for it is to wait on the server's side."""

_MAKES_ROOM: Final = """
redis.call('HDEL', KEYS[1], '')
"""
"""First in a script that has to run at `maxmemory` too: what a backlog fills, only those who take from it can empty.
Redis (6.2 on, `scriptVerifyOOM`) refuses a script what needs memory until it has written something, and not after."""

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
"""

TAKE: Final = f"""{_MAKES_ROOM}{_NOW}
local answer, left = {{}}, tonumber(ARGV[2])
for place = 2, #KEYS do
    while left > 0 do
        local message = redis.call('LINDEX', KEYS[place], -1)
        if not message then break end
        left = left - 1
        local name = ARGV[1] .. ':' .. #answer / 2
        redis.call('HSET', KEYS[1], name, string.format('%.3f ', now) .. KEYS[place] .. '\\n' .. message)
        local popped = redis.pcall('RPOP', KEYS[place])
        if type(popped) == 'table' then
            redis.call('HDEL', KEYS[1], name)
            return popped
        end
        answer[#answer + 1], answer[#answer + 2] = KEYS[place], message
    end
end
return answer
"""
"""Takes the next messages. Keys: the hash, then the lists, the most urgent first. Arguments: a name for this call, and
the most messages. Returns list, message, list, message and so on; the n-th message, from 0, is ``name:n`` there.

What a script has done stays done where a later command of it is refused, so a message leaves its list last of all."""

WRITE_DOWN: Final = f"""{_MAKES_ROOM}{_NOW}
for place = 1, #ARGV, 3 do
    redis.call('ZADD', KEYS[3], string.format('%.6f', now), ARGV[place + 1])
    redis.call('HSET', KEYS[2], ARGV[place + 1], ARGV[place + 2])
    redis.call('HDEL', KEYS[1], ARGV[place])
end
"""
"""Writes messages among Celery's unacknowledged ones, and lets go of them. Keys: `TAKEN`, Celery's hash and its index.
Arguments: for each message its name in `TAKEN`, its delivery tag and what Celery keeps of it. The time is Redis's:
any worker may put back what has been there for too long, and their clocks differ."""

_PUT_BACK: Final = f"""{_MAKES_ROOM}{_NOW}
local oldest = now - ARGV[1]
local taken, count = redis.call('HGETALL', KEYS[1]), 0
for place = 1, #taken, 2 do
    local token, record = taken[place], taken[place + 1]
    local space, line = string.find(record, ' ', 1, true), string.find(record, '\\n', 1, true)
    if tonumber(string.sub(record, 1, space - 1)) < oldest then
        redis.call('RPUSH', string.sub(record, space + 1, line - 1), string.sub(record, line + 1))
        redis.call('HDEL', KEYS[1], token)
        count = count + 1
    end
end
return count
"""


def put_back(client: "Redis", key_prefix: str, older_than_s: float) -> int:
    """Put messages back whose worker took them longer ago and never wrote that down; say how many.

    Safe to call from every worker at once. A worker that was only slow then delivers a message a second time, which
    changes nothing.

    Raises:
        RedisError: Redis does not answer.
    """
    count: int = client.register_script(_PUT_BACK)(keys=[key_prefix + TAKEN], args=[older_than_s])
    return count
