"""Jobs per CPU-second of a worker with a handler that does nothing, beside a Celery worker with the same durable writes.

    python tests/bench/jobs.py --binaries target/release --amqp amqp://127.0.0.1:5672

Darkroom is told of uploads as S3 tells of them. Both read one 1 KiB upload a job, write the same number of objects to the
same S3 server (an embedded one, started here) and take their jobs from quorum queues of the same RabbitMQ, whose events'
queue tells when all are done. A proxy counts the requests of a few jobs of each first, apart from what is measured. Then
an idle Darkroom worker is looked at. Needs the release binaries with `--features fault-injection`, and the packages of `requirements.txt`.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from amqp.exceptions import NotFound
from botocore.config import Config
from kombu import Connection, Exchange, Producer, Queue

EXCHANGE = "bench.events"
UPLOADS = "bench-uploads"
CLIP = bytes(1024)
TICKS = os.sysconf("SC_CLK_TCK")
REQUEST = re.compile(rb"^(GET|PUT|HEAD|POST|DELETE) /([^ ]*) HTTP/1\.1\r$", re.M)


def tree(pid):
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [pid]
    # Those that threads started are listed with their threads.
    for path in children.parent.parent.glob("*/children"):
        for child in path.read_text().split():
            found += tree(int(child))
    return found


def cpu_secs(pid):
    """CPU time of a process and its descendants, the ended ones included."""
    ticks = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


class Counting:
    """A proxy before the S3 server that counts requests by method and name of the object."""

    def __init__(self, target):
        host, port = target.removeprefix("http://").split(":")
        self.target, self.seen = (host, int(port)), Counter()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            threading.Thread(target=self.copy, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, False), daemon=True).start()

    def copy(self, source, sink, count):
        try:
            while data := source.recv(1 << 16):
                for method, path in REQUEST.findall(data) if count else ():
                    path, _, query = path.partition(b"?")
                    name = "(list)" if b"list-type" in query else path.rsplit(b"/", 1)[-1].decode()
                    name = "input" if path.startswith(UPLOADS.encode()) else name
                    self.seen[f"{method.decode()} {name}"] += 1
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Site:
    """The S3 server, the broker, and where events arrive."""

    def __init__(self, args, home):
        self.args, self.home = args, home
        self.up = subprocess.Popen(
            [args.binaries / "darkroom", "--data-dir", home / "up", "up"],
            stdout=subprocess.DEVNULL,
            stderr=(home / "up.log").open("w"),
        )
        facts = home / "up" / "up.json"
        wait("the S3 server", facts.exists)
        self.facts = json.loads(facts.read_text())
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.facts["s3"],
            aws_access_key_id=self.facts["access_key"],
            aws_secret_access_key=self.facts["secret_key"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
        self.s3.create_bucket(Bucket=UPLOADS)
        self.connection = Connection(args.amqp, transport_options={"confirm_publish": True})
        self.channel = self.connection.channel()
        exchange = Exchange(EXCHANGE, "topic", durable=True)
        self.events = Queue(EXCHANGE, exchange, "#", durable=True, queue_arguments={"x-queue-type": "quorum"})
        self.events(self.channel).declare()

    def done(self):
        """Events that have arrived."""
        return self.channel.queue_declare(EXCHANGE, passive=True).message_count

    def has(self, queue):
        """Whether there is such a queue: to ask for one that is not closes the channel."""
        try:
            with self.connection.channel() as channel:
                channel.queue_declare(queue, passive=True)
                return True
        except NotFound:
            return False

    def empty(self):
        self.channel.queue_purge(EXCHANGE)

    def upload(self, names):
        """The inputs of these jobs."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.s3.put_object(Bucket=UPLOADS, Key=f"{name}.bin", Body=CLIP), names))

    def environment(self, s3):
        return os.environ | {
            "BROKER": self.args.amqp,
            "S3": s3,
            "ACCESS_KEY": self.facts["access_key"],
            "SECRET_KEY": self.facts["secret_key"],
            "EXCHANGE": EXCHANGE,
            "UPLOADS": UPLOADS,
            "DARKROOM_EXECUTOR": str(self.args.binaries / "darkroom-executor-fault"),
        }

    def close(self):
        for queue in (EXCHANGE, "bench.celery"):
            self.channel.queue_delete(queue)
        self.channel.exchange_delete(EXCHANGE)
        self.connection.release()
        self.up.send_signal(signal.SIGTERM)
        self.up.wait()


def wait(what, ready, patience=120):
    deadline = time.monotonic() + patience
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"{what} took more than {patience} s")
        time.sleep(0.02)


class Darkroom:
    """A worker with one slot."""

    name = "darkroom"

    def __init__(self, site, s3, number):
        self.site = site
        self.queue = f"bench.darkroom.{os.getpid()}"
        key = site.facts
        scratch = site.home / f"scratch-{number}"
        config = site.home / f"worker-{number}.toml"
        config.write_text(f"""
[worker]
state = "s3://darkroom-state/"
scratch_dir = "{scratch}"
[queue]
kind = "amqp"
amqp.queue = "{self.queue}"
[amqp]
url = "{site.args.amqp}"
[[stores]]
name = "main"
endpoint = "{s3}"
access_key = "{key['access_key']}"
secret_key = "{key['secret_key']}"
[[sources]]
bucket = "{UPLOADS}"
[[destinations]]
bucket = "results"
[[routes]]
bucket = "{UPLOADS}"
handler = "copy"
output = "s3://results/bench/"
[[sinks]]
kind = "amqp"
required = true
exchange = "{EXCHANGE}"
types = ["completed", "failed"]
[log]
level = "warn"
""")
        command = [site.args.binaries / "darkroom", "--config", config, "work"]
        self.process = subprocess.Popen(command, env=site.environment(s3), stderr=(site.home / "work.log").open("a"))
        wait("the worker's queue", lambda: site.has(self.queue))

    def send(self, names):
        producer = Producer(self.site.channel)
        etag = hashlib.md5(CLIP, usedforsecurity=False).hexdigest()
        for name in names:
            object = {"key": f"{name}.bin", "size": len(CLIP), "eTag": etag}
            record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
            record["s3"] = {"bucket": {"name": UPLOADS}, "object": object}
            body = json.dumps({"Records": [record]})
            producer.publish(body, routing_key=self.queue, delivery_mode=2, content_type="application/json")

    def close(self):
        end(self.process)
        with self.site.connection.channel() as channel:
            for suffix in ["", ".dead", *(f".delay.{4**n}" for n in range(9))]:
                channel.queue_delete(self.queue + suffix)
            channel.exchange_delete(self.queue + ".dlx")


class Celery:
    """A worker with one process for tasks."""

    name = "celery"

    def __init__(self, site, s3, _number):
        import celery_peer

        self.task = celery_peer.noop
        command = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", f"--pool={site.args.pool}"]
        command += ["--concurrency=1", "--loglevel=error", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        env = site.environment(s3)
        self.process = subprocess.Popen(
            command, env=env, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL, stderr=(site.home / "work.log").open("a")
        )

    def send(self, names):
        for name in names:
            self.task.delay(name, f"{name}.bin")

    def close(self):
        end(self.process)


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def run(site, worker, names):
    """Seconds of wall and of the worker's CPU until these jobs are done."""
    site.upload(names)
    site.empty()
    cpu, begun = cpu_secs(worker.process.pid), time.monotonic()
    worker.send(names)

    def done():
        if worker.process.poll() is not None:
            sys.exit(f"{worker.name} has ended: {(site.home / 'work.log').read_text()[-2000:]}")
        return site.done() >= len(names)

    wait(f"{worker.name}'s jobs", done, 600)
    return time.monotonic() - begun, cpu_secs(worker.process.pid) - cpu


def counted(site, kind, jobs=10):
    """Requests a job, and the worker ended."""
    proxy = Counting(site.facts["s3"])
    worker = kind(site, proxy.url, f"counted-{kind.name}")
    run(site, worker, [f"{kind.name}-warm-{n}" for n in range(3)])
    proxy.seen.clear()
    run(site, worker, [f"{kind.name}-counted-{n}" for n in range(jobs)])
    worker.close()
    return {request: count / jobs for request, count in sorted(proxy.seen.items())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, required=True, help="directory of the release binaries")
    parser.add_argument("--amqp", required=True, help="URL of a RabbitMQ that lets `guest` in, without credentials")
    parser.add_argument("--count", type=int, default=500, help="jobs in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pool", default="prefork", help="Celery's pool: prefork or solo")
    parser.add_argument("--idle", type=int, default=60, help="seconds for which an idle worker is looked at")
    args = parser.parse_args()
    args.binaries = args.binaries.resolve()
    with tempfile.TemporaryDirectory() as home:
        site = Site(args, Path(home))
        try:
            measure(site, args)
        finally:
            site.close()


def measure(site, args):
    ours = counted(site, Darkroom)
    writes = {request: count for request, count in ours.items() if request.startswith("PUT")}
    puts = [request[4:] for request, count in writes.items() for _ in range(round(count))]
    os.environ |= {"PUTS": " ".join(puts)} | {k: v for k, v in site.environment(site.facts["s3"]).items()}
    theirs = counted(site, Celery)
    print(json.dumps({"requests_a_job": {"darkroom": ours, "celery": theirs}}, indent=1), flush=True)
    workers = [kind(site, site.facts["s3"], kind.name) for kind in (Darkroom, Celery)]
    results = {worker.name: [] for worker in workers}
    try:
        for worker in workers:
            run(site, worker, [f"{worker.name}-warm-up-{n}" for n in range(20)])
        for number in range(args.rounds):
            for worker in workers:
                wall, cpu = run(site, worker, [f"{worker.name}-{number}-{n}" for n in range(args.count)])
                results[worker.name].append({"jobs_per_cpu_sec": args.count / cpu, "jobs_per_sec": args.count / wall})
                print(worker.name, results[worker.name][-1], flush=True)
        cpu, begun = cpu_secs(workers[0].process.pid), time.monotonic()
        time.sleep(args.idle)
        idle = (cpu_secs(workers[0].process.pid) - cpu) / (time.monotonic() - begun)
    finally:
        for worker in workers:
            worker.close()

    def median(name, field):
        return sorted(round[field] for round in results[name])[len(results[name]) // 2]

    summary = {f"{name}_{field}": round(median(name, field), 1) for name in results for field in results[name][0]}
    ratio = median("darkroom", "jobs_per_cpu_sec") / median("celery", "jobs_per_cpu_sec")
    summary |= {"ratio_per_cpu_sec": round(ratio, 2), "aim": 3, "idle_core_percent": round(100 * idle, 2), "idle_aim": 0.5}
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
