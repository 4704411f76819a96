"""Which arguments of a command a shell or another interpreter reads as code."""

import shlex

import pytest
from pydantic import ValidationError

from handlers.command import CommandOptions
from handlers.inline_code import code_in


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo {ref}'",
        "/bin/sh -c 'echo {ref}'",
        "bash -ec 'echo {ref}' bash",
        "bash -xeuo pipefail -c 'echo {ref}'",
        "bash -c -e -- 'echo {ref}'",
        "bash --norc +e -c 'echo {ref}'",
        "fish -c'echo {ref}'",
        "fish --command='echo {ref}'",
        "pwsh -NoProfile -Command Write-Output {ref}",
        "busybox sh -c 'echo {ref}'",
        "env A=1 sh -c 'echo {ref}'",
        "env -S 'echo {ref}'",
        "sudo -u deploy -- bash -lc 'echo {ref}'",
        "nice -n 10 timeout 60 zsh -c 'echo {ref}'",
        "unknown-wrapper run sh -c 'echo {ref}'",
        "docker run --entrypoint /bin/sh app -ec 'echo {ref}'",
        "docker run --entrypoint=sh --rm app -c 'echo {ref}'",
        "docker run --entrypoint python3 app -c 'print(\"{ref}\")'",
        "docker exec app sh -c 'echo {ref}'",
        "docker-compose exec app python3 -c 'print(\"{ref}\")'",
        "npm exec -c 'echo {ref}'",
        "kubectl exec web -c web -- python3 -c 'print(\"{ref}\")'",
        "su deploy -c 'echo {ref}'",
        "su -s /bin/sh -c 'echo {ref}' deploy",
        "flock -w 5 /run/lock/shop -c 'echo {ref}'",
        "script -qec 'echo {ref}' /dev/null",
        "python3.11 -W ignore -Ic 'print(\"{ref}\")'",
        "python '-cprint(\"{ref}\")'",
        "perl -Mstrict -lane 'print q({ref})'",
        "perl -i.bak -pe 's/x/{ref}/' file",
        "perl -M{ref} x.pl",
        "ruby -rjson -e 'puts %q({ref})'",
        "node --input-type=module -e 'f(\"{ref}\")'",
        "node --eval='f(\"{ref}\")'",
        "node -pe '\"{ref}\"'",
        "php -d x=1 -r 'echo \"{ref}\";'",
        "lua5.4 -e 'print(\"{ref}\")'",
        "awk -F : '{{print \"{ref}\"}}' file",
        "sed -i s/x/{ref}/ file",
        "sed -n -e s/x/{ref}/ file",
        "ssh -p 22 deploy@web1 ./deploy {ref}",
        "timeout 60 ssh web1 'echo {ref}'",
        "ssh -oProxyCommand={ref} web1",
    ],
)
def test_a_value_in_code_is_refused_at_its_argument(command: str) -> None:
    argv = shlex.split(command)
    [index] = [number for number, argument in enumerate(argv) if "{ref}" in argument]
    with pytest.raises(ValidationError) as invalid:
        CommandOptions.model_validate({"run": argv})
    [error] = invalid.value.errors()
    assert error["loc"] == ("run", index)
    assert "{ref} would be run as code by" in error["msg"]


@pytest.mark.parametrize(
    "command",
    [
        "./bin/deploy {environment} {sha} --by={creator}",
        "sh -c 'echo \"$DEPLOYMENT_REF\"' sh {ref}",
        "sh -c 'echo \"$1\"' sh {ref}",
        "sh -c 'exec \"$@\"' sh ./deploy -c {ref}",
        "sh ./deploy -c {ref}",
        "bash --rcfile x ./deploy -c {ref}",
        "bash -c 'echo {{ref}}'",
        "env REF={ref} sh -c 'echo \"$REF\"'",
        "docker run --entrypoint sh -e REF={ref} app -c 'echo \"$REF\"'",
        "docker run --entrypoint /bin/deploy app -c {ref}",
        "docker run --entrypoint node -e REF={ref} app deploy.js",
        "docker run -e REF={ref} app sh -c 'echo \"$REF\"'",
        "pwsh -File deploy.ps1 -Command {ref}",
        "pwsh deploy.ps1 -c {ref}",
        "npm run deploy -- -c {environment}",
        "kubectl rollout restart -c {environment}",
        "flock /run/lock/shop ./deploy -c {environment}",
        "python3 deploy.py -c {ref}",
        "python3 -m deploy -c {ref}",
        "python3 -c 'import sys; print(sys.argv[1])' {ref}",
        "perl -e 'print @ARGV' {ref}",
        "node deploy.js -e {environment}",
        "./deploy --app node -e {environment}",
        "awk -v ref={ref} '{{print ref}}' file",
        "awk -f program.awk {ref}",
        "sed -e s/x/y/ {ref}",
        "ssh -l deploy {environment}.example.com",
        "ssh web1 ./deploy {sha} {id}",
        "git push -c {ref}",
    ],
)
def test_a_value_as_an_argument_is_fine(command: str) -> None:
    CommandOptions.model_validate({"run": shlex.split(command)})


@pytest.mark.parametrize("command", ["sh", "sh -c", "bash -o", "perl -e", "ssh", "ssh -o", "sed"])
def test_what_is_not_complete_has_no_code(command: str) -> None:
    assert not list(code_in(shlex.split(command)))
