"""Which models this deployment has, and which of them answers for a client.

Base URLs and keys come from the deployment alone: a client's `model_config` names a provider and a model among those
that are configured, so a key is never sent to an address that came with a request or a row.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from server import log
from server.errors import ModelError, SettingsError
from server.llm.demo import MODEL as DEMO_MODEL
from server.llm.demo import DemoProvider
from server.llm.provider import Provider
from server.settings import LlmSettings

ProviderName = Literal["openai", "anthropic", "ollama", "demo"]

# Names of the installed clients' type literals (a test looks them up). Quick and cheap: a front desk answers short
# questions from facts it was given. (default, small)
_DEFAULTS: Final[dict[str, tuple[str, str]]] = {
    "openai": ("gpt-6-luna", "gpt-6-luna"),
    "anthropic": ("claude-haiku-5-5", "claude-haiku-5-5"),
    "demo": (DEMO_MODEL, DEMO_MODEL),
}
# Longer than a machine in the same network takes, short enough not to be felt at start.
_OLLAMA_PROBE_S: Final = 1.0

_log = log.get("llm.registry")


class ModelConfig(msgspec.Struct, frozen=True):
    """What a client may choose: `clients.model_config`. Unknown keys are ignored."""

    provider: ProviderName | None = None
    model: str | None = None
    # 0 to 2; None leaves it to the provider. Some models take none but their own.
    temperature: float | None = None


class Registry:
    """The configured providers, shared by every turn of this process. Build it with `build_registry`."""

    def __init__(self, providers: Mapping[str, Provider], default: str, models: Mapping[str, tuple[str, str]]) -> None:
        """`models` maps each provider's name to its default and its small model."""
        self._providers = dict(providers)
        self._models = dict(models)
        self.default_provider = self._providers[default]
        self._told: set[tuple[str | None, str | None]] = set()

    @property
    def default_model(self) -> str:
        return self._models[self.default_provider.name][0]

    @property
    def providers(self) -> tuple[Provider, ...]:
        return tuple(self._providers.values())

    def choose(self, config: ModelConfig | None = None, *, small: bool = False) -> tuple[Provider, str]:
        """The provider and model for a client's turn, or with `small` for its summaries.

        A client that names a provider which is not configured gets the deployment's default, and the log says so once.
        """
        provider = self.default_provider
        model: str | None = None
        if config is not None:
            wanted = config.provider or provider.name
            if wanted in self._providers and (config.model or self._models[wanted][0]):
                provider = self._providers[wanted]
                model = config.model
            elif (key := (config.provider, config.model)) not in self._told:
                self._told.add(key)
                _log.warning("provider_not_configured", wanted=wanted, used=provider.name)
        default, small_model = self._models[provider.name]
        if provider.name == "demo":
            return provider, DEMO_MODEL
        if small:
            return provider, small_model
        return provider, model or default

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()


async def build_registry(settings: LlmSettings) -> Registry:
    """Builds every provider that is configured and picks the default one.

    `auto` takes the first of OpenAI (key or base URL set), Anthropic (key set), an Ollama that answers within a second
    and has a model, and the demo model. Raises SettingsError for a provider asked for by name and not configured.
    """
    providers: dict[str, Provider] = {"demo": DemoProvider()}
    models = dict(_DEFAULTS)
    if settings.openai_api_key or settings.openai_base_url:
        from server.llm.openai import OpenAIProvider, is_own_host

        if settings.openai_base_url and not is_own_host(settings.openai_base_url):
            models["openai"] = ("", "")  # vLLM, Groq and the others have models of their own
        providers["openai"] = OpenAIProvider(api_key=settings.openai_api_key, base_url=settings.openai_base_url)
    if settings.anthropic_api_key:
        from server.llm.anthropic import AnthropicProvider

        providers["anthropic"] = AnthropicProvider(
            api_key=settings.anthropic_api_key, base_url=settings.anthropic_base_url
        )
    try:
        if _wants_ollama(settings, providers):
            await _add_ollama(settings, providers, models)
        default = _default(settings, providers)
        models[default] = _models(settings, default, models[default])
    except BaseException:
        for provider in providers.values():
            await provider.close()
        raise
    _log.info("models_ready", provider=default, model=models[default][0], configured=sorted(providers))
    return Registry(providers, default, models)


def _models(settings: LlmSettings, default: ProviderName, own: tuple[str, str]) -> tuple[str, str]:
    """The default and the small model of the default provider."""
    if default == "demo":
        return own
    # A model that was named is at hand for summaries too; nobody knows that of our own choice of a small one.
    model, small = (settings.model, settings.model) if settings.model else own
    if not model:
        raise SettingsError(f"set LLM_MODEL: which models {default} has is not known here")
    return model, settings.small_model or small


def _wants_ollama(settings: LlmSettings, providers: Mapping[str, Provider]) -> bool:
    if settings.provider == "ollama" or settings.ollama_host:
        return True
    return settings.provider == "auto" and len(providers) == 1


async def _add_ollama(
    settings: LlmSettings, providers: dict[str, Provider], models: dict[str, tuple[str, str]]
) -> None:
    from server.llm.ollama import OllamaProvider

    ollama = OllamaProvider(host=settings.ollama_host)
    try:
        installed = await ollama.models(_OLLAMA_PROBE_S)
    except ModelError as error:
        if settings.provider == "auto":
            await ollama.close()
            if settings.ollama_host:
                _log.warning("ollama_unreachable", reason=error.message)
            return
        installed = []  # asked for by name: it may come up later, each turn tries anew
    if not installed and settings.provider == "auto":
        _log.warning("ollama_has_no_model", host=ollama.host, fix="ollama pull llama3.2")
        await ollama.close()
        return
    first = installed[0] if installed else ""
    providers["ollama"] = ollama
    models["ollama"] = (first, first)


def _default(settings: LlmSettings, providers: Mapping[str, Provider]) -> ProviderName:
    if settings.provider == "auto":
        order: tuple[ProviderName, ...] = ("openai", "anthropic", "ollama", "demo")
        return next(name for name in order if name in providers)
    if settings.provider not in providers:
        key = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}.get(settings.provider, "")
        raise SettingsError(f"LLM_PROVIDER is {settings.provider}, so {key} must be set")
    return settings.provider
