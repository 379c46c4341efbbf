"""Custom job of Vertex AI."""

import json

from tests.deploy import manifests
from trainer.distribution import cluster


def test_hosts_find_each_other():
    (job,) = manifests.load("vertex/custom_job.yaml")
    counts = [pool["replicaCount"] for pool in job["workerPoolSpecs"]]
    # Vertex AI allows only one replica in the first pool.
    assert counts[0] == 1
    hosts = {
        f"workerpool{pool}": [
            f"cmle-training-workerpool{pool}-ab-{index}:2222" for index in range(count)
        ]
        for pool, count in enumerate(counts)
    }
    everyone = tuple(host for pool in hosts.values() for host in pool)
    assert len(everyone) == 2
    tasks = [(pool, index) for pool in hosts for index in range(len(hosts[pool]))]
    for number, (pool, index) in enumerate(tasks):
        spec = {
            "cluster": hosts,
            "environment": "cloud",
            "task": {"type": pool, "index": index, "trial": ""},
        }
        actual = cluster.find_cluster({"CLUSTER_SPEC": json.dumps(spec)})
        assert actual == cluster.Cluster(everyone, number, "CLUSTER_SPEC")


def test_paths_are_on_the_share_that_is_mounted():
    (job,) = manifests.load("vertex/custom_job.yaml")
    for pool in job["workerPoolSpecs"]:
        (mount,) = pool["nfsMounts"]
        args = pool["containerSpec"]["args"]
        for flag in ("dataset", "workdir"):
            (value,) = [arg for arg in args if arg.startswith(f"--{flag}=")]
            assert value.startswith(f"--{flag}=/mnt/nfs/{mount['mountPoint']}/")
        count = pool["machineSpec"]["acceleratorCount"]
        assert f"--num_gpus={count}" in args
        assert pool["containerSpec"]["imageUri"].endswith("-gpu")
