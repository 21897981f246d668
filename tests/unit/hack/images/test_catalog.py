"""What goes into which image."""

import pytest

from hack.images import builder, catalog, wheels
from hack.run import Failure


@pytest.mark.parametrize("program", catalog.PROGRAMS, ids=lambda p: p.name)
def test_every_command_of_an_image_is_a_console_command_of_the_project(program):
    scripts = catalog.project()["scripts"]
    assert set(program.commands) <= set(scripts)


@pytest.mark.parametrize("program", catalog.PROGRAMS, ids=lambda p: p.name)
def test_an_image_gets_the_projects_own_dependencies_and_those_of_its_extras(program):
    table = catalog.project()
    wanted = catalog.requirements(program, table)
    assert set(table["dependencies"]) <= set(wanted)
    for extra in program.extras:
        assert set(table["optional-dependencies"][extra]) <= set(wanted)


def test_the_contract_is_in_every_image():
    for program in catalog.PROGRAMS:
        assert "ccl_contract/__init__.py" in catalog.sources(program)


def test_programs_of_the_tree_keep_their_folder_where_asked_for():
    names = catalog.sources(catalog.program("ccl-fakes"))
    assert "hack/chat.py" in names
    assert any(name.startswith("hack/fakes/") for name in names)


def test_compiled_files_are_left_out(tmp_path):
    program = catalog.Program("p", "p", (), ("pkg",))
    (tmp_path / "pkg" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pkg" / "a.py").touch()
    (tmp_path / "pkg" / "__pycache__" / "a.cpython-311.pyc").touch()
    assert set(catalog.sources(program, tmp_path)) == {"pkg/a.py"}


def test_a_command_calls_its_function_with_the_images_python():
    assert catalog.script("ccl_service.cli:main").splitlines() == [
        "#!/opt/ccl/bin/python",
        "import sys",
        "",
        "from ccl_service.cli import main",
        "",
        "sys.exit(main())",
    ]


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(Failure, match="no image is called 'ccl'; fix: choose from ccl-service, "):
        catalog.known(["ccl"])


def test_no_name_means_all():
    assert catalog.known([]) == catalog.NAMES


@pytest.mark.parametrize(
    ("machine", "newest"), [("x86_64", "manylinux_2_34_x86_64"), ("arm64", "manylinux_2_34_aarch64")]
)
def test_wheels_are_asked_for_by_the_machines_own_name(machine, newest):
    assert wheels.platforms(machine)[0] == newest


def test_a_new_tag_replaces_only_images_of_the_same_name():
    built = ["localhost/ccl/ccl-service:1", "localhost/ccl/ccl-service:2", "localhost/ccl/ccl-service-unready:1"]
    assert builder.replaced(built, "localhost/ccl/ccl-service:2") == ["localhost/ccl/ccl-service:1"]
