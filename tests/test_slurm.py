import pytest

from keras_vgg.errors import InputError
from keras_vgg.training.slurm import addresses, host_names, tasks_per_node


@pytest.mark.parametrize(
    ("listed", "hosts"),
    [
        ("localhost", "localhost"),
        ("node[8-11]", "node8 node9 node10 node11"),
        ("node[1-3]-ib", "node1-ib node2-ib node3-ib"),
        ("rack[1-2]n[09-10]", "rack1n09 rack1n10 rack2n09 rack2n10"),
        ("b[7,1-2],a-1.x", "b7 b1 b2 a-1.x"),
        ("n[098-101]", "n098 n099 n100 n101"),
    ],
)
def test_hosts_are_read_in_slurms_order(listed, hosts):
    assert host_names(listed) == hosts.split()


@pytest.mark.parametrize("listed", ["", "n[1-", "n[3-1]", "n[a]", "n1,,n2", "n[[1]]", "n1,"])
def test_other_lists_of_hosts_are_refused(listed):
    with pytest.raises(InputError, match="Slurm host list must"):
        host_names(listed)


def test_tasks_per_node():
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    with pytest.raises(InputError, match=r"2\(x3\),1"):
        tasks_per_node("2x3")


def step(rank, node, **others):
    return {
        "SLURM_STEP_NODELIST": "node[8-19]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x11),1",
        "SLURM_JOB_ID": "1003",
        "SLURM_PROCID": str(rank),
        "SLURM_NODEID": str(node),
    } | others


@pytest.mark.parametrize("rank", range(23))
def test_each_rank_finds_itself_at_its_own_address(rank):
    every, mine = addresses(step(rank, rank // 2))
    assert len(every) == 23
    assert every[mine] == f"node{8 + rank // 2}:{12048 + rank % 2}"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (step(1, 1), "--distribution=block"),
        (step(23, 11), "SLURM_PROCID must be below"),
        (step(0, 0, SLURM_HET_SIZE="2"), "heterogeneous"),
        (step(0, 0, SLURM_STEP_NODELIST="n[1-2]"), "2 hosts, 12 task counts"),
        ({}, "start with srun"),
    ],
)
def test_steps_that_cannot_train_are_refused(environment, message):
    with pytest.raises(InputError, match=message):
        addresses(environment)
