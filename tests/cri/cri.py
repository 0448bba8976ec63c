#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cri -- one request to a CRI socket, as kubelet would make it.

usage: cri.py SOCKET METHOD [REQUEST]     REQUEST and what is printed are JSON; status 1 and a line on stderr if it is refused
"""
import os
import subprocess
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PACKAGE = "runtime.v1"
DEADLINE_S = 120


def service():
    """The descriptor of the service in cri.proto, which lies beside this program."""
    here = os.path.dirname(os.path.realpath(__file__))
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc-c", f"--descriptor_set_out={out.name}", "-I", here, f"{here}/cri.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool.FindServiceByName(f"{PACKAGE}.RuntimeService")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    method = service().methods_by_name[sys.argv[2]]
    make = message_factory.MessageFactory().GetPrototype
    request = json_format.Parse(sys.argv[3] if len(sys.argv) == 4 else "{}", make(method.input_type)())
    with grpc.insecure_channel(f"unix://{sys.argv[1]}") as channel:
        call = channel.unary_unary(
            f"/{PACKAGE}.RuntimeService/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=make(method.output_type).FromString,
        )
        try:
            answer = call(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")
    print(json_format.MessageToJson(answer, preserving_proto_field_name=True, including_default_value_fields=True))


if __name__ == "__main__":
    main()
