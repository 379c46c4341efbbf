import json

import pytest

from trainer.distribution import cluster

# The value that Kubeflow's training operator sets for the second worker beside a chief.
KUBEFLOW = json.dumps(
    {
        "cluster": {
            "chief": ["vae-chief-0.team.svc:2222"],
            "worker": ["vae-worker-0.team.svc:2222", "vae-worker-1.team.svc:2222"],
        },
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }
)
# The value that Vertex AI sets for the second machine of the second pool.
VERTEX = json.dumps(
    {
        "cluster": {
            "workerpool0": ["cmle-training-workerpool0-ab-0:2222"],
            "workerpool1": [
                "cmle-training-workerpool1-ab-0:2222",
                "cmle-training-workerpool1-ab-1:2222",
            ],
            "workerpool2": ["cmle-training-workerpool2-ab-0:2222"],
        },
        "environment": "cloud",
        "task": {"type": "workerpool1", "index": 1, "trial": ""},
        "job": "{}",
    }
)
SLURM = {
    "SLURM_JOB_ID": "204137",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NODELIST": "gpu[08-10]",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
    "SLURM_NTASKS": "3",
}
KUBERNETES = {
    "JOB_COMPLETION_INDEX": "1",
    "HOSTNAME": "vae-trainer-0-1",
    "VAELINE_NUM_HOSTS": "2",
    "VAELINE_SUBDOMAIN": "vae",
}


@pytest.mark.parametrize(
    ("environ", "addresses", "index", "source"),
    [
        (
            {"TF_CONFIG": KUBEFLOW},
            (
                "vae-chief-0.team.svc:2222",
                "vae-worker-0.team.svc:2222",
                "vae-worker-1.team.svc:2222",
            ),
            2,
            "TF_CONFIG",
        ),
        (
            {"CLUSTER_SPEC": VERTEX},
            (
                "cmle-training-workerpool0-ab-0:2222",
                "cmle-training-workerpool1-ab-0:2222",
                "cmle-training-workerpool1-ab-1:2222",
            ),
            2,
            "CLUSTER_SPEC",
        ),
        (
            SLURM,
            ("gpu08:6359", "gpu09:6359", "gpu10:6359"),
            2,
            "SLURM_STEP_NODELIST",
        ),
        (
            KUBERNETES,
            ("vae-trainer-0-0.vae:2222", "vae-trainer-0-1.vae:2222"),
            1,
            "JOB_COMPLETION_INDEX",
        ),
    ],
)
def test_the_environments_of_clusters(environ, addresses, index, source):
    actual = cluster.find_cluster(environ)
    assert actual == cluster.Cluster(addresses, index, source)
    assert not actual.is_chief
    assert actual.address == addresses[index]
    text = cluster.describe(actual)
    assert f"{len(addresses)}, from {source}; this is host {index} at" in text
    # Another program that reads TF_CONFIG finds the same cluster.
    assert cluster.find_cluster({"TF_CONFIG": actual.tf_config()}) == (
        cluster.Cluster(addresses, index, "TF_CONFIG")
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}'},
        {"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "vae-0"},
        {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "gpu[1-2]"},
        {**SLURM, "SLURM_STEP_NODELIST": "gpu08", "SLURM_STEP_NUM_TASKS": "1"}
        | {"SLURM_PROCID": "0"},
    ],
)
def test_a_host_alone(environ):
    assert cluster.find_cluster(environ) is None
    assert cluster.describe(None) == "training on this machine"


def test_the_first_variable_counts():
    both = {"TF_CONFIG": KUBEFLOW, "CLUSTER_SPEC": VERTEX, **SLURM, **KUBERNETES}
    assert cluster.find_cluster(both).source == "TF_CONFIG"


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG={ does not say which hosts train (JSONDecode"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG=[] does not say"),
        (
            {"TF_CONFIG": '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps"}}'},
            "a task of type 'ps' does not train",
        ),
        (
            {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {"index": 1}}'},
            "the cluster has no worker with index 1",
        ),
        (
            {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "a:1"]}}'},
            "a host appears twice",
        ),
        ({"CLUSTER_SPEC": "{}"}, "KeyError: 'cluster'"),
        (
            SLURM | {"SLURM_STEP_NUM_TASKS": "6"},
            "srun started 6 tasks on 3 nodes: give srun --ntasks-per-node=1",
        ),
        (
            SLURM | {"SLURM_PROCID": "3"},
            "the index of this host, 3, must be from 0 to 2",
        ),
        (SLURM | {"SLURM_STEP_NODELIST": "gpu[1"}, "'gpu[1' is not a list of nodes"),
        (
            KUBERNETES | {"HOSTNAME": "elsewhere"},
            "HOSTNAME=elsewhere does not end in -1",
        ),
        (KUBERNETES | {"JOB_COMPLETION_INDEX": "x"}, "invalid literal for int"),
    ],
)
def test_an_environment_that_is_wrong_is_one_line(environ, text):
    with pytest.raises(ValueError, match="does not say which hosts train") as error:
        cluster.find_cluster(environ)
    assert text in str(error.value)
    assert "unset it to train on this host alone" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[1,5-6]x,m", ["n1x", "n5x", "n6x", "m"]),
        ("r[1-2]n[0-1]", ["r1n0", "r1n1", "r2n0", "r2n1"]),
    ],
)
def test_lists_of_nodes(text, nodes):
    assert cluster.expand_nodes(text) == nodes
