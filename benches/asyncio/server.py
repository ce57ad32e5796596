"""The hybrid group's echo server on CPython's asyncio, for the reader who comes from there.

    server.py threads|processes [the options of bench-server]

Jobs go to a ThreadPoolExecutor or a ProcessPoolExecutor, as the documentation of `loop.run_in_executor` has it. A job is a loop in Python
that takes as long as the others' jobs take: `--job-steps` divided by `--steps-a-second`, measured against this machine's Python once at
the start. So its jobs a second are comparable, the work in one is not.
"""

import argparse
import asyncio
import concurrent.futures
import json
import os
import sys
import threading
import time


def spin(rounds):
    state = 1
    for _ in range(rounds):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


def rounds_a_second():
    rounds = 100_000
    best = min(timed(rounds) for _ in range(10))
    return rounds / best


def timed(rounds):
    start = time.perf_counter()
    spin(rounds)
    return time.perf_counter() - start


class Echo(asyncio.Protocol):
    work = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if Echo.work:
            spin(Echo.work)
        self.transport.write(data)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", choices=["threads", "processes"])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--buffer", type=int, default=64)
    parser.add_argument("--request-steps", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--job-steps", type=int, default=0)
    parser.add_argument("--steps-a-second", type=float, default=1e9)
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--timers", action="store_true")
    return parser.parse_args()


async def serve(chosen):
    loop = asyncio.get_running_loop()
    speed = rounds_a_second()
    rounds = int(chosen.job_steps / chosen.steps_a_second * speed)
    Echo.work = int(chosen.request_steps / chosen.steps_a_second * speed)
    executors = {
        "threads": concurrent.futures.ThreadPoolExecutor,
        "processes": concurrent.futures.ProcessPoolExecutor,
    }
    pool = executors[chosen.pool](max_workers=chosen.workers)
    done = 0
    lateness = []

    async def job():
        nonlocal done
        while True:
            await loop.run_in_executor(pool, spin, rounds)
            done += 1

    async def timer():
        while True:
            due = time.perf_counter_ns() + 1_000_000
            await asyncio.sleep(0.001)
            lateness.append(max(0, time.perf_counter_ns() - due))

    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
    tasks = [asyncio.create_task(job()) for _ in range(chosen.jobs)]
    if chosen.timers:
        tasks.append(asyncio.create_task(timer()))

    def percentile(ordered, share):
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0

    def stats():
        nonlocal lateness
        ordered, lateness = sorted(lateness), []
        late = [percentile(ordered, share) for share in (0.5, 0.99, 0.999, 1.0)] if chosen.timers else []
        return json.dumps({"jobs": done, "lateness": late})

    async def ask():
        return stats()

    def converse():
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        for _ in sys.stdin:
            print(asyncio.run_coroutine_threadsafe(ask(), loop).result(), flush=True)
        # Jobs never end: nothing is to be waited for.
        for child in getattr(pool, "_processes", None) or {}:
            os.kill(child, 9)
        os._exit(0)

    threading.Thread(target=converse, daemon=True).start()
    await asyncio.gather(*tasks, asyncio.Event().wait())


if __name__ == "__main__":
    asyncio.run(serve(options()))
