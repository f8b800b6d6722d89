# Speaks to the endpoint with boto3, as an application or an operator would. The Go test gives the environment:
# ENDPOINT, ROOT_ID and ROOT_SECRET (all rights), APP_ID and APP_SECRET (read below sales-orders/ of shop-bucket),
# MINT_ID and MINT_SECRET (write credentials). Any failure ends with a traceback.
import io, os, urllib.request, urllib.error
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def client(who, **config):
    return boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="eu-central-1", verify=os.environ.get("CA") or None,
        aws_access_key_id=os.environ[who + "_ID"], aws_secret_access_key=os.environ[who + "_SECRET"],
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", **config))

def refused(code, f, **args):
    try:
        f(**args)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e.response
        return
    raise AssertionError("allowed: " + repr(args))

def life(s3):
    for algorithm in (None, "CRC32", "SHA1", "SHA256"):
        extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        for key in ("plain", "a b/ü%41+=&.json", "a//b", "x" * 1000):
            for body in (b"", b"{}", b"large" * 300000):
                put = s3.put_object(Bucket="shop-bucket", Key=key, Body=body, ContentType="application/json", Metadata={"v": "1"}, **extra)
                got = s3.get_object(Bucket="shop-bucket", Key=key)
                assert got["Body"].read() == body and got["ETag"] == put["ETag"] and got["Metadata"] == {"v": "1"}, key
                assert s3.head_object(Bucket="shop-bucket", Key=key)["ContentLength"] == len(body)
    # A file object goes in chunks with a trailing checksum where boto3 does so.
    s3.upload_fileobj(io.BytesIO(b"stream" * 10000), "shop-bucket", "uploaded")
    out = io.BytesIO()
    s3.download_fileobj("shop-bucket", "uploaded", out)
    assert out.getvalue() == b"stream" * 10000

    tag = s3.put_object(Bucket="shop-bucket", Key="c", Body=b"one")["ETag"]
    refused("304", s3.get_object, Bucket="shop-bucket", Key="c", IfNoneMatch=tag)
    refused("PreconditionFailed", s3.put_object, Bucket="shop-bucket", Key="c", Body=b"two", IfNoneMatch="*")
    s3.put_object(Bucket="shop-bucket", Key="c", Body=b"two", IfMatch=tag)
    refused("PreconditionFailed", s3.put_object, Bucket="shop-bucket", Key="c", Body=b"three", IfMatch=tag)
    part = s3.get_object(Bucket="shop-bucket", Key="c", Range="bytes=1-1")
    assert part["Body"].read() == b"w" and part["ContentRange"] == "bytes 1-1/3"

    keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="shop-bucket", PaginationConfig={"PageSize": 2}) for o in page["Contents"]]
    assert keys == sorted(["plain", "a b/ü%41+=&.json", "a//b", "x" * 1000, "uploaded", "c"], key=lambda k: k.encode()), keys
    prefixes = [p["Prefix"] for p in s3.list_objects_v2(Bucket="shop-bucket", Delimiter="/")["CommonPrefixes"]]
    assert prefixes == ["a b/", "a/"], prefixes
    for key in keys:
        s3.delete_object(Bucket="shop-bucket", Key=key)
    assert s3.list_objects_v2(Bucket="shop-bucket")["KeyCount"] == 0
    refused("NoSuchKey", s3.get_object, Bucket="shop-bucket", Key="c")
    refused("NoSuchBucket", s3.get_object, Bucket="absent-bucket", Key="c")
    refused("AccessDenied", s3.create_bucket, Bucket="new-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.head_bucket(Bucket="shop-bucket")
    assert s3.get_bucket_location(Bucket="shop-bucket")["LocationConstraint"] is None
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["other-bucket", "shop-bucket"]

def presigned(s3):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "shop-bucket", "Key": "p q"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(put, data=b"hello", method="PUT"))
    get = s3.generate_presigned_url("get_object", Params={"Bucket": "shop-bucket", "Key": "p q"}, ExpiresIn=60)
    assert urllib.request.urlopen(get).read() == b"hello"
    try:
        urllib.request.urlopen(get[:-1] + ("0" if get[-1] != "0" else "1"))
        raise AssertionError("a changed signature is accepted")
    except urllib.error.HTTPError as e:
        assert e.code == 403, e.code
    s3.delete_object(Bucket="shop-bucket", Key="p q")

def rights():
    mint, app = client("MINT"), client("APP")
    mint.put_object(Bucket="shop-bucket", Key="sales-orders/user.json", Body=b'{"application_username":"u"}', ContentType="application/json", ACL="bucket-owner-full-control")
    refused("AccessDenied", mint.get_object, Bucket="shop-bucket", Key="sales-orders/user.json")
    assert app.get_object(Bucket="shop-bucket", Key="sales-orders/user.json")["Body"].read() == b'{"application_username":"u"}'
    refused("NoSuchKey", app.get_object, Bucket="shop-bucket", Key="sales-orders/client.json")
    refused("AccessDenied", app.get_object, Bucket="shop-bucket", Key="other/user.json")
    refused("AccessDenied", app.put_object, Bucket="shop-bucket", Key="sales-orders/user.json", Body=b"x")
    refused("AccessDenied", app.list_objects_v2, Bucket="shop-bucket")
    client("ROOT").delete_object(Bucket="shop-bucket", Key="sales-orders/user.json")

life(client("ROOT"))
life(client("ROOT", request_checksum_calculation="when_required", response_checksum_validation="when_required"))
if not os.environ.get("CA"):
    presigned(client("ROOT"))
rights()
print("boto3", boto3.__version__, "agrees")
