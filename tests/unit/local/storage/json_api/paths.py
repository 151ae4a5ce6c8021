"""Where the JSON API keeps the bucket `buck` and its object `o`."""

BUCKET = "/storage/v1/b/buck"
ITEM = f"{BUCKET}/o/o"
UPLOAD = "/upload/storage/v1/b/buck/o"
