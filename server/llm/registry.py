"""Which models this deployment has, and which of them answers for a client.

Base URLs and keys come from the deployment alone: a client's `model_config` names a provider and a model among those
that are configured, so a key is never sent to an address that came with a request or a row.
"""

from collections.abc import Collection, Mapping
from typing import Final

from server import log
from server.errors import Invalid, ModelError, SettingsError
from server.llm.demo import MODEL as DEMO_MODEL
from server.llm.demo import DemoProvider
from server.llm.provider import Provider
from server.protocol.client_config import ModelChoice, ModelConfig, ProviderName
from server.settings import LlmSettings

# Names of the installed clients' type literals (a test looks them up). Quick and cheap: a front desk answers short
# questions from facts it was given. (default, small)
_DEFAULTS: Final[dict[ProviderName, tuple[str, str]]] = {
    "openai": ("gpt-6-luna", "gpt-6-luna"),
    "anthropic": ("claude-haiku-5-5", "claude-haiku-5-5"),
    "demo": (DEMO_MODEL, DEMO_MODEL),
}
# Longer than a machine in the same network takes, short enough not to be felt at start.
_OLLAMA_PROBE_S: Final = 1.0

_log = log.get("llm.registry")


class Registry:
    """The configured providers, shared by every turn of this process. Build it with `build_registry`."""

    def __init__(
        self,
        providers: Mapping[ProviderName, Provider],
        default: ProviderName,
        models: Mapping[ProviderName, tuple[str, str]],
        *,
        elsewhere: Collection[ProviderName] = (),
    ) -> None:
        """`models` maps each provider's name to its default and its small model.

        `elsewhere` are those that are asked at another address than their maker's, where other models are.
        """
        self._providers = dict(providers)
        self._models = dict(models)
        # Those whose makers' price lists say which models they have.
        self.listed = frozenset(providers) - {*elsewhere, "demo", "ollama"}
        self._default = default
        self._told: set[tuple[str | None, str | None]] = set()

    @property
    def default_provider(self) -> Provider:
        return self._providers[self._default]

    @property
    def default_model(self) -> str:
        return self._models[self._default][0]

    @property
    def providers(self) -> tuple[Provider, ...]:
        return tuple(self._providers.values())

    def choose(self, config: ModelConfig | None = None, *, small: bool = False) -> tuple[Provider, str]:
        """The provider and model for a client's turn, or with `small` for its summaries.

        A client that names a provider which is not configured gets the deployment's default, and the log says so once.
        """
        name, model = self._default, None
        if config is not None:
            wanted = config.provider or name
            if wanted in self._providers and (config.model or self._models[wanted][0]):
                name, model = wanted, config.model
            elif (key := (config.provider, config.model)) not in self._told:
                self._told.add(key)
                _log.warning("provider_not_configured", wanted=wanted, used=name)
        provider, (default, small_model) = self._providers[name], self._models[name]
        if name == "demo":
            return provider, DEMO_MODEL
        if small:
            return provider, small_model
        return provider, model or default

    def fallback(self, config: ModelConfig) -> tuple[Provider, str] | None:
        """Who answers when the model that `choose` names fails; None where the client chose nobody, or the same."""
        wanted = config.fallback
        if wanted is None:
            return None
        provider, model = self.choose(ModelConfig(provider=wanted.provider, model=wanted.model))
        first, first_model = self.choose(config)
        return None if (provider.name, model) == (first.name, first_model) else (provider, model)

    def name_of(self, provider: Provider) -> ProviderName:
        """The name under which a client chooses it."""
        return next(name for name, each in self._providers.items() if each is provider)

    def default_of(self, provider: ProviderName) -> str | None:
        """The model that answers where none is named; None: it has none."""
        return self._models[provider][0] or None

    def named(self, provider: ProviderName) -> set[str]:
        """The models that the deployment itself uses of it."""
        return {model for model in self._models[provider] if model}

    def check(self, config: ModelConfig, *, at: str, before: ModelConfig | None = None) -> None:
        """Raises Invalid with a field below `at`, unless what is chosen can be asked. What was so `before` may stay."""
        first = ModelChoice(provider=config.provider, model=config.model)
        if before is None or first != ModelChoice(provider=before.provider, model=before.model):
            self._check(first, at)
        if config.fallback is not None and (before is None or config.fallback != before.fallback):
            self._check(config.fallback, f"{at}.fallback")

    def _check(self, choice: ModelChoice, at: str) -> None:
        provider = choice.provider or self._default
        if provider not in self._providers:
            there = ", ".join(sorted(self._providers))
            raise Invalid(
                f"`{at}.provider` {provider} is not configured here; there are {there}", field=f"{at}.provider"
            )
        if not choice.model and not self._models[provider][0]:
            raise Invalid(f"`{at}.model` is missing: which models {provider} has is not known", field=f"{at}.model")
        if provider == "demo" and choice.model not in {None, DEMO_MODEL}:
            raise Invalid(f"`{at}.model` of demo can only be {DEMO_MODEL}", field=f"{at}.model")

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()


async def build_registry(settings: LlmSettings) -> Registry:
    """Builds every provider that is configured and picks the default one.

    `auto` takes the first of OpenAI (key or base URL set), Anthropic (key set), an Ollama that answers within a second
    and has a model, and the demo model. Raises SettingsError for a provider asked for by name and not configured.
    """
    providers: dict[ProviderName, Provider] = {"demo": DemoProvider()}
    models, elsewhere = dict(_DEFAULTS), set[ProviderName]()
    if settings.openai_api_key or settings.openai_base_url:
        from server.llm.openai import OpenAIProvider, is_own_host

        if settings.openai_base_url and not is_own_host(settings.openai_base_url):
            models["openai"] = ("", "")  # vLLM, Groq and the others have models of their own
            elsewhere.add("openai")
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
    return Registry(providers, default, models, elsewhere=elsewhere)


def _models(settings: LlmSettings, default: ProviderName, own: tuple[str, str]) -> tuple[str, str]:
    """The default and the small model of the default provider."""
    if default == "demo":
        return own
    # A model that was named is at hand for summaries too; nobody knows that of our own choice of a small one.
    model, small = (settings.model, settings.model) if settings.model else own
    if not model:
        raise SettingsError(f"set LLM_MODEL: which models {default} has is not known here")
    return model, settings.small_model or small


def _wants_ollama(settings: LlmSettings, providers: Mapping[ProviderName, Provider]) -> bool:
    if settings.provider == "ollama" or settings.ollama_host:
        return True
    return settings.provider == "auto" and len(providers) == 1


async def _add_ollama(
    settings: LlmSettings, providers: dict[ProviderName, Provider], models: dict[ProviderName, tuple[str, str]]
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


def _default(settings: LlmSettings, providers: Mapping[ProviderName, Provider]) -> ProviderName:
    if settings.provider == "auto":
        order: tuple[ProviderName, ...] = ("openai", "anthropic", "ollama", "demo")
        return next(name for name in order if name in providers)
    if settings.provider not in providers:
        key = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}.get(settings.provider, "")
        raise SettingsError(f"LLM_PROVIDER is {settings.provider}, so {key} must be set")
    return settings.provider
