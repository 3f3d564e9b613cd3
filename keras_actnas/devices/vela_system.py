"""Systems that Arm's compiler Vela knows: an Ethos-U with its clock and its memories."""

from __future__ import annotations

import configparser
import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from types import ModuleType

from keras_actnas.core.errors import InputError, MissingDependencyError, closest
from keras_actnas.core.printing import printing_to

BUNDLED_CONFIG = "Arm/vela.ini"
"""The configuration file that comes with Vela."""


def import_vela() -> ModuleType:
    """Returns Vela's main module.

    Raises:
      MissingDependencyError: Vela is not installed.
    """
    try:
        from ethosu.vela import vela
    except ImportError as error:
        raise MissingDependencyError("ethos-u-vela", "vela", "Estimating the latency on an Ethos-U") from error
    return vela


def accelerators() -> list[str]:
    """Returns the names of the NPUs that Vela knows, such as "ethos-u55-128".

    Raises:
      MissingDependencyError: Vela is not installed.
    """
    return list(import_vela().architecture_features.Accelerator.member_list())


@dataclasses.dataclass(frozen=True)
class VelaSystem:
    """An NPU with its surroundings, by the names that Vela's configuration file has for them. Made by `resolve`.

    Attributes:
      accelerator: The NPU.
      system_config: Clock and memories.
      memory_mode: What lies in which memory.
      vela_config: Path of a configuration file of one's own; empty for the one that comes with Vela.
    """

    accelerator: str
    system_config: str
    memory_mode: str
    vela_config: str = ""

    @classmethod
    def resolve(
        cls,
        accelerator: str,
        system_config: str | None = None,
        memory_mode: str | None = None,
        vela_config: str | os.PathLike[str] | None = None,
    ) -> VelaSystem:
        """Returns the system that these names mean, with Vela's own choice for those that are None.

        Args:
          accelerator: The NPU, such as "ethos-u55-128".
          system_config: The name of a `System_Config` section of the configuration file.
          memory_mode: The name of a `Memory_Mode` section.
          vela_config: A configuration file of one's own, which needs both names with it; None for Vela's.

        Raises:
          InputError: A name is unknown, or the file is no configuration of Vela.
          MissingDependencyError: Vela is not installed.
        """
        known = accelerators()
        if accelerator not in known:
            raise InputError(f"Expected an accelerator. Received: {accelerator!r}.{closest(str(accelerator), known)}")
        bundled = not vela_config or os.fspath(vela_config) == BUNDLED_CONFIG
        folder = import_vela().architecture_features.CONFIG_FILES_PATH
        file = Path(folder, BUNDLED_CONFIG) if bundled else Path(vela_config or "").resolve()
        sections = _sections(file)
        if not bundled and not (system_config and memory_mode):
            raise InputError(
                "Expected system_config and memory_mode, which name sections, with a vela_config of one's own. "
                f"Received: system_config={system_config!r}, memory_mode={memory_mode!r}."
            )
        _check_section("system_config", system_config, "System_Config.", sections, file)
        _check_section("memory_mode", memory_mode, "Memory_Mode.", sections, file)
        names = _read_by_vela(accelerator, system_config, memory_mode, None if bundled else file)
        return cls(accelerator, *names, "" if bundled else str(file))

    @property
    def arguments(self) -> list[str]:
        """What Vela's command line takes for this system."""
        # Vela takes its own file by itself, and without being told that it does.
        config = ["--config", self.vela_config] if self.vela_config else []
        return [
            *("--accelerator-config", self.accelerator, "--system-config", self.system_config),
            *("--memory-mode", self.memory_mode, *config),
        ]

    def to_json(self) -> str:
        """Returns the system as JSON, whose fields make it again."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def config_digest(self) -> str:
        """What tells one configuration file from another, wherever it lies: a hash, or the name of Vela's own."""
        if not self.vela_config:
            return BUNDLED_CONFIG
        return f"sha256:{hashlib.sha256(Path(self.vela_config).read_bytes()).hexdigest()}"


def _sections(file: Path) -> list[str]:
    sections = configparser.ConfigParser()
    try:
        if file.suffix != ".ini":
            raise InputError("its name has to end in .ini")
        sections.read_string(file.read_text(encoding="utf-8"))
    except (OSError, InputError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Expected a configuration file of Vela. Received: {file} ({reason}).") from error
    return sections.sections()


def _check_section(argument: str, name: str | None, kind: str, sections: list[str], file: Path) -> None:
    known = [section.removeprefix(kind) for section in sections if section.startswith(kind)]
    if name and name not in known:
        raise InputError(f"Expected {argument} of {file.name}. Received: {name!r}.{closest(name, known)}")


def _read_by_vela(
    accelerator: str, system_config: str | None, memory_mode: str | None, file: Path | None
) -> tuple[str, str]:
    """Returns the names of system configuration and memory mode once Vela has read them."""
    features = import_vela().architecture_features.ArchitectureFeatures
    try:
        with tempfile.TemporaryFile() as printed, printing_to(printed.fileno()):
            read = features(
                vela_config_files=None if file is None else [str(file)],
                accelerator_config=accelerator,
                system_config=system_config or features.DEFAULT_CONFIG,
                memory_mode=memory_mode or features.DEFAULT_CONFIG,
                max_blockdep=features.MAX_BLOCKDEP,
                verbose_config=False,
                arena_cache_size=None,
            )
    except Exception as error:  # Whatever a value that is none leads Vela to.
        reason = " ".join(str(getattr(error, "data", error)).split())
        raise InputError(
            f"Expected a system that Vela can read. Received: {accelerator}, system_config={system_config!r}, "
            f"memory_mode={memory_mode!r} of {file or BUNDLED_CONFIG}; Vela says: {reason}"
        ) from error
    return read.system_config, read.memory_mode
