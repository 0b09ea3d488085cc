"""boto3's transfer manager, for `darkroom bench transfer`: one file up and down.

Settings come in the environment: ENDPOINT, REGION, ACCESS_KEY, SECRET_KEY. Prints a line of JSON with seconds.
"""

import json
import os
import sys
import time

import boto3
from botocore.config import Config


def main():
    source, target, bucket, key = sys.argv[1:]
    store = boto3.client(
        "s3",
        endpoint_url=os.environ.get("ENDPOINT"),
        aws_access_key_id=os.environ.get("ACCESS_KEY"),
        aws_secret_access_key=os.environ.get("SECRET_KEY"),
        region_name=os.environ["REGION"],
        config=Config(
            s3={"addressing_style": "path"} if "ENDPOINT" in os.environ else None,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    # The connection is there before the clock starts, as it is in a worker.
    store.head_bucket(Bucket=bucket)
    begun = time.perf_counter()
    store.upload_file(source, bucket, key)
    uploaded = time.perf_counter()
    store.download_file(bucket, key, target)
    downloaded = time.perf_counter()
    print(json.dumps({"up_secs": uploaded - begun, "down_secs": downloaded - uploaded}))


if __name__ == "__main__":
    main()
