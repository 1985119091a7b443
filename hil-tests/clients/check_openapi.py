"""Holds an OpenAPI document against the official schema of its version. Argument: its URL."""

import json
import sys
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
document = json.load(opener.open(sys.argv[1], timeout=20))
errors = list(OpenAPIV31SpecValidator(document).iter_errors())
for error in errors:
    print(f"{'/'.join(map(str, error.absolute_path))}: {error.message[:500]}", file=sys.stderr)
operations = sum(len(methods) for methods in document["paths"].values())
print(f"openapi.json: {operations} operations, {len(errors)} errors")
sys.exit(1 if errors else 0)
