"""Hosts that train together, and the number of this host among them.

The environment decides. The first of these variables that is set counts:

    TF_CONFIG                     set by Kubeflow, trainer.launch or the user
    CLUSTER_SPEC                  set by Vertex AI
    SLURM_STEP_NODELIST, ...      set by srun, with one task per host
    JOB_COMPLETION_INDEX, ...     set by Kubernetes in an indexed Job, such as JobSet's

Without any of them, or with a single host, this machine trains alone.
"""

import dataclasses
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

DEFAULT_PORT = 2222

# The manifest of a Kubernetes job must set these variables. Kubernetes itself sets the
# index of the host.
NUM_HOSTS_VARIABLE = "VAELINE_NUM_HOSTS"
SUBDOMAIN_VARIABLE = "VAELINE_SUBDOMAIN"

# Jobs that train, the chief's first. Jobs such as `ps` and `evaluator` do not train.
_TF_CONFIG_JOBS = ("chief", "master", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Hosts that train together.

    Attributes:
        addresses: HOST:PORT of each host, the chief's first.
        index: Number of this host.
        source: Environment variable that describes the cluster.
    """

    addresses: tuple[str, ...]
    index: int
    source: str

    @property
    def is_chief(self) -> bool:
        """Whether this host writes events, pictures and metrics."""
        return self.index == 0

    @property
    def address(self) -> str:
        """Address of this host."""
        return self.addresses[self.index]

    @property
    def loopback(self) -> str | None:
        """IP address of this host, if all hosts are on the loopback of one machine."""
        resolved = [_loopback(address) for address in self.addresses]
        return resolved[self.index] if all(resolved) else None

    def tf_config(self) -> str:
        """Returns the value of TF_CONFIG for this host, as JSON."""
        body = {
            "cluster": {"worker": list(self.addresses)},
            "task": {"type": "worker", "index": self.index},
        }
        return json.dumps(body)


def find_cluster(environ: Mapping[str, str]) -> Cluster | None:
    """Returns the cluster that the environment describes, or None for this host alone.

    Args:
        environ: Environment variables, as in `os.environ`.

    Raises:
        ValueError: If a variable is set and malformed.

    Example:
        >>> spec = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1}}'
        >>> find_cluster({"TF_CONFIG": spec}).address
        'b:1'
    """
    for variable, find in _FINDERS.items():
        if environ.get(variable):
            try:
                addresses, index = find(environ)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise ValueError(_wrong_text(variable, environ, error)) from error
            if not 0 <= index < len(addresses):
                reason = (
                    f"the index of this host, {index}, must be from 0 to "
                    f"{len(addresses) - 1}"
                )
                raise ValueError(_wrong_text(variable, environ, reason))
            if len(addresses) == 1:
                return None
            if len(set(addresses)) < len(addresses):
                raise ValueError(_wrong_text(variable, environ, "a host appears twice"))
            return Cluster(addresses, index, variable)
    return None


def describe(cluster: Cluster | None) -> str:
    """Returns one line with the hosts, and with the variable that names them if any."""
    if cluster is None:
        return "training on this machine"
    return (
        f"hosts: {len(cluster.addresses)}, from {cluster.source}; this is host "
        f"{cluster.index}{', the chief,' if cluster.is_chief else ''} at "
        f"{cluster.address}; all hosts: {', '.join(cluster.addresses)}"
    )


def _from_tf_config(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    body = json.loads(environ["TF_CONFIG"])
    jobs = body.get("cluster", {})
    # Kubeflow names no hosts for a single replica.
    if not jobs:
        return ("localhost",), 0
    task = body.get("task", {})
    kind = task.get("type", "worker")
    if kind not in _TF_CONFIG_JOBS or kind not in jobs:
        raise ValueError(f"a task of type {kind!r} does not train")
    return _numbered(jobs, _TF_CONFIG_JOBS, kind, int(task.get("index", 0)))


def _from_vertex(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    body = json.loads(environ["CLUSTER_SPEC"])
    jobs, task = body["cluster"], body["task"]
    kinds = sorted(name for name in jobs if re.fullmatch(r"workerpool[01]", name))
    return _numbered(jobs, kinds, task["type"], int(task["index"]))


def _numbered(
    jobs: Mapping[str, Any], kinds: Any, kind: str, index: int
) -> tuple[tuple[str, ...], int]:
    """Returns the hosts of all kinds, in order, and the number of the given host."""
    addresses: list[str] = []
    number = -1
    for its_kind in kinds:
        hosts = jobs.get(its_kind, [])
        if its_kind == kind and 0 <= index < len(hosts):
            number = len(addresses) + index
        addresses += [str(host) for host in hosts]
    if number < 0:
        raise ValueError(f"the cluster has no {kind} with index {index}")
    return tuple(addresses), number


def _from_slurm(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    hosts = expand_nodes(environ["SLURM_STEP_NODELIST"])
    num_tasks = int(environ["SLURM_STEP_NUM_TASKS"])
    if num_tasks != len(hosts):
        raise ValueError(
            f"srun started {num_tasks} tasks on {len(hosts)} nodes: give srun "
            "--ntasks-per-node=1"
        )
    # The port depends on the job, because two jobs may run on one node.
    port = DEFAULT_PORT + int(environ.get("SLURM_JOB_ID", 0)) % 20_000
    return tuple(f"{host}:{port}" for host in hosts), int(environ["SLURM_PROCID"])


def _from_kubernetes(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    index = int(environ["JOB_COMPLETION_INDEX"])
    num_hosts = int(environ.get(NUM_HOSTS_VARIABLE, 1))
    if num_hosts == 1:
        return ("localhost",), index
    # In an indexed Job, a pod's hostname is the name of the Job and the pod's index.
    stem, dash, number = environ["HOSTNAME"].rpartition("-")
    if not dash or number != str(index):
        raise ValueError(f"HOSTNAME={environ['HOSTNAME']} does not end in -{index}")
    domain = environ[SUBDOMAIN_VARIABLE]
    hosts = [f"{stem}-{host}.{domain}:{DEFAULT_PORT}" for host in range(num_hosts)]
    return tuple(hosts), index


def expand_nodes(text: str) -> list[str]:
    """Returns the names of the nodes in a node list of Slurm.

    Raises:
        ValueError: If the text is not a node list.

    Example:
        >>> expand_nodes("login,gpu[01-03,7],rack[1-2]-n[0-1]")
        ['login', 'gpu01', 'gpu02', 'gpu03', 'gpu7', 'rack1-n0', 'rack1-n1', \
'rack2-n0', 'rack2-n1']
    """
    parts = re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text)
    if ",".join(parts) != text:
        raise ValueError(f"{text!r} is not a list of nodes")
    return [name for part in parts for name in _expand_part(part)]


def _expand_part(part: str) -> list[str]:
    match = re.search(r"\[([^\]]*)\]", part)
    if match is None:
        return [part]
    head, tail = part[: match.start()], _expand_part(part[match.end() :])
    numbers: list[str] = []
    for span in match[1].split(","):
        first, _, last = span.partition("-")
        stop = int(last or first) + 1
        # Keep leading zeros.
        numbers += [f"{value:0{len(first)}d}" for value in range(int(first), stop)]
    return [f"{head}{number}{rest}" for number in numbers for rest in tail]


def _loopback(address: str) -> str | None:
    """Returns the IP address in HOST:PORT if it is a loopback address, else None."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return "127.0.0.1"
    try:
        return host if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


def _wrong_text(variable: str, environ: Mapping[str, str], reason: object) -> str:
    # A plain ValueError has a text of this module.
    is_ours = isinstance(reason, str) or type(reason) is ValueError
    text = str(reason) if is_ours else f"{type(reason).__name__}: {reason}"
    return (
        f"{variable}={environ[variable]:.300} does not say which hosts train "
        f"({text}): correct it, or unset it to train on this host alone"
    )


_FINDERS = {
    "TF_CONFIG": _from_tf_config,
    "CLUSTER_SPEC": _from_vertex,
    "SLURM_STEP_NODELIST": _from_slurm,
    "JOB_COMPLETION_INDEX": _from_kubernetes,
}
