"""The engine's batching: against its device, against a direct call, and against LitServe."""

import statistics
from http.client import HTTPConnection

from benchmarks import litserve_peer
from benchmarks.measuring import Figure, Ratio, Say, loaded, seconds_of
from benchmarks.models import pair
from benchmarks.samples import cards, lesion
from benchmarks.simulated_gpu import N_MAX, SimulatedGpu, batch_seconds
from worker.clinical.categories import Priority
from worker.inference.engine import Engine, Prepared
from worker.inference.loading import cpu_runner
from worker.inference.preprocess import pixels_for_each

IN_FLIGHT = 2 * N_MAX


def batcher(say: Say, *, quick: bool) -> Figure:
    """Lesions a second at saturation, against a device that never waits; and LitServe on the same device."""
    best = N_MAX / batch_seconds(N_MAX)
    seconds, rounds = (2.0, 2) if quick else (6.0, 5)
    ours, theirs = [], []
    with litserve_peer.running("simulated") as port:
        for number in range(rounds):
            ours.append(_loaded(IN_FLIGHT, seconds))
            theirs.append(litserve_peer.loaded(port, IN_FLIGHT, seconds))
            say(f"round {number + 1}: ours {ours[-1][0]:.0f}/s, LitServe {theirs[-1][0]:.0f}/s, of {best:.0f}/s")
    ratio = Ratio([rate for rate, _ in ours], [best] * rounds)
    rate, p99 = (statistics.median(each) for each in zip(*ours, strict=True))
    their_rate, their_p99 = (statistics.median(each) for each in zip(*theirs, strict=True))
    return Figure(
        "batcher",
        f"engine on a device of T(n) = 19 + n ms, {IN_FLIGHT} lesions in flight / n_max/T(n_max), n_max {N_MAX}",
        ratio.median,
        ratio.spread,
        ratio.median >= 0.95 and rate >= their_rate and p99 <= their_p99,
        f"{rate:.0f} lesions/s, p99 {1e3 * p99:.0f} ms",
        f"device {best:.0f}/s; LitServe {their_rate:.0f}/s, p99 {1e3 * their_p99:.0f} ms",
        {"litserve_ratio": their_rate / best},
    )


def _loaded(in_flight: int, seconds: float) -> tuple[float, float]:
    """Keep so many lesions in flight; return lesions a second and the 99th percentile of seconds for one."""
    engine = Engine(cards(), SimulatedGpu(), N_MAX, 0.005)
    image = lesion()
    try:
        return loaded(lambda: lambda: engine.submit([image], Priority.ROUTINE).result(), in_flight, seconds)
    finally:
        engine.close()


def idle(say: Say, *, quick: bool) -> Figure:
    """Seconds for one lesion while nothing else is queued, through the engine and by a direct call; and LitServe's."""
    count, rounds = (5, 2) if quick else (20, 5)
    image, preprocessing = lesion(), [card.preprocessing for card in cards()]
    runner = cpu_runner(pair())
    engine = Engine(cards(), runner, None, 0.005)

    def direct() -> None:
        lh, bm = pixels_for_each(image.frame, image.region, preprocessing)
        one = Prepared(lh, bm, image.age.years)
        runner.run([one.lh], [one.bm], [one.age_years])

    def through_the_engine() -> None:
        engine.submit([image], Priority.ROUTINE).result()

    ours: list[float] = []
    directly: list[float] = []
    with litserve_peer.running("models") as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        served: list[float] = []
        content = litserve_peer.body()

        def through_litserve() -> None:
            litserve_peer.ask(connection, content)

        through_the_engine(), direct(), through_litserve()
        for _ in range(rounds):
            times = [
                (seconds_of(through_the_engine), seconds_of(direct), seconds_of(through_litserve)) for _ in range(count)
            ]
            for each, found in zip((ours, directly, served), zip(*times, strict=True), strict=True):
                each.append(statistics.median(found))
            say(f"engine {1e3 * ours[-1]:.1f} ms, direct {1e3 * directly[-1]:.1f}, LitServe {1e3 * served[-1]:.1f}")
    engine.close()
    ratio = Ratio(ours, directly)
    return Figure(
        "idle",
        "one lesion, nothing else queued, both models on the CPU, p50: through the engine / direct call, seconds",
        ratio.median,
        ratio.spread,
        ratio.median <= 1.05 and statistics.median(ours) <= statistics.median(served),
        f"{1e3 * statistics.median(ours):.1f} ms",
        f"direct {1e3 * statistics.median(directly):.1f} ms; LitServe {1e3 * statistics.median(served):.1f} ms",
    )
