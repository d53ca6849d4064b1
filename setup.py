"""The four folders are imported as dtss.compiler and so on; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("compiler", "hwsim", "models", "rtl")

setup(
    packages=[f"dtss.{name}" for folder in FOLDERS for name in find_packages(include=[folder, f"{folder}.*"])],
    package_dir={f"dtss.{folder}": folder for folder in FOLDERS},
)
