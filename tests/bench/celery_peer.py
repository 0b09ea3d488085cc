"""The peer of `jobs.py`: a Celery worker that does for each job the durable writes that Darkroom does, and nothing else.

A task is acknowledged late, reads its input, writes the same objects by boto3, and tells its end by a confirmed message.
Settings come in the environment: BROKER, S3, ACCESS_KEY, SECRET_KEY, EXCHANGE, UPLOADS (the bucket), PUTS (names of the objects,
spaces between).
"""

import os

import boto3
from botocore.config import Config
from celery import Celery
from kombu import Queue

app = Celery("peer", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue="bench.celery",
    task_queues=[Queue("bench.celery", queue_arguments={"x-queue-type": "quorum"})],
    worker_detect_quorum_queues=True,
    # As many in hand as Darkroom has: the one that runs and the next.
    worker_prefetch_multiplier=2,
    worker_hijack_root_logger=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)
store = None


def bucket():
    """The client, made once in each process."""
    global store
    if store is None:
        store = boto3.client(
            "s3",
            endpoint_url=os.environ["S3"],
            aws_access_key_id=os.environ["ACCESS_KEY"],
            aws_secret_access_key=os.environ["SECRET_KEY"],
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    return store


@app.task(name="noop")
def noop(job, key):
    """One job: the input comes, the objects go."""
    s3 = bucket()
    body = s3.get_object(Bucket=os.environ["UPLOADS"], Key=key)["Body"].read()
    for name in os.environ["PUTS"].split():
        once = {"IfNoneMatch": "*"} if name in ("attempt-1.json", "manifest.json") else {}
        s3.put_object(Bucket="results", Key=f"celery/{job}/{name}", Body=body, **once)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            {"id": f"{job}.completed"},
            exchange=os.environ["EXCHANGE"],
            routing_key="celery",
            delivery_mode=2,
            serializer="json",
            mandatory=True,
        )
