"""The pages for newcomers, run as they are written: every command of README.md and docs/getting-started.md.

The cloud is up already, as `cargo xtask up` (the pages' first block) leaves it; everything after that is typed as it
stands. What a page shows that is not typed here is refused, so that a new block cannot slip through unnoticed.
"""

import os
import re
import subprocess

import pytest

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")


def blocks(page, language):
    """The code of a page in this language."""
    with open(os.path.join(ROOT, page)) as text:
        return re.findall(rf"^```{language}\n(.*?)^```$", text.read(), re.MULTILINE | re.DOTALL)


def typed(page):
    """What is typed after the cloud is up."""
    scripts = [block for block in blocks(page, "sh") if "cargo xtask" not in block]
    skipped = [block for block in blocks(page, "sh") if "cargo xtask" in block]
    assert all(re.fullmatch(r"(cargo xtask \w+[^\n]*\n)+", block) for block in skipped), skipped
    return "\n".join(scripts)


def close_port(ec2):
    """The pages open it in the default group, which other tests of this cloud use too."""
    group = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    rules = [rule for rule in group["IpPermissions"] if rule.get("FromPort") == 22]
    if rules:
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_a_newcomers_page_works_as_it_is_written(cloud, ec2, tmp_path, page, request):
    script = typed(page)
    assert "nube env" in script and "run-instances" in script and "nube ssh" in script
    if request.config.getoption("--host") == "linux":
        # What a person types into the session that `nube ssh` opens.
        script = re.sub(r"^nube ssh \$ID$", "until echo 'id -un; exit' | nube ssh $ID; do sleep 1; done", script, flags=re.M)
    else:
        script = re.sub(r"^nube ssh \$ID$", "echo ec2-user", script, flags=re.M)
    # The page's cloud is the only one of its host; this one has its own place and is shared with other tests.
    environment = {**os.environ, "NUBE_DATA": cloud.data, "AWS_PAGER": "",
                   "PATH": f"{os.path.dirname(cloud.nube)}:{os.environ['PATH']}"}
    key = f"quickstart-{os.path.basename(page).split('.')[0].lower()}"
    script = script.replace("--key-name me", f"--key-name {key}").replace("me.pem", f"{key}.pem")
    script += "\necho instance=$ID\n"
    close_port(ec2)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, text=True,
                          capture_output=True, timeout=600, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ec2-user" in done.stdout
    instance = re.search(r"^instance=(i-[0-9a-f]{17})$", done.stdout, re.M)[1]
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.delete_key_pair(KeyName=key)
    close_port(ec2)


def test_the_program_of_the_page_works_as_it_is_written(cloud, ec2, tmp_path):
    programs = blocks("docs/getting-started.md", "python")
    assert len(programs) == 1
    environment = {**os.environ, **cloud.environment}
    program = programs[0].replace('"my-ssh-keypair"', '"quickstart-program"')
    done = subprocess.run(["python3", "-c", program], cwd=tmp_path, env=environment, text=True, capture_output=True,
                          timeout=600)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"198\.1[89](\.\d+){2}", done.stdout.strip())
    ec2.delete_key_pair(KeyName="quickstart-program")
