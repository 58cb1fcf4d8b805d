"""`roadcast models list`."""

from roadcast.cli.console import say, show_table


def list(model: str | None = None, /, registry: str = "registry", log: bool = False) -> None:
    """Tell which models there are, their versions, and which alias names which.

    Examples:
      roadcast models list
      roadcast models list mine --log

    Args:
        model: One model only.
        registry: A folder, or mlflow:URI.
        log: Tell who did what and when, instead.
    """
    from roadcast.serving.registry import Registry

    opened = Registry.open(registry)
    models = [model] if model else opened.models()
    for name in models:
        versions, aliases = opened.versions(name), opened.aliases(name)
        if log:
            continue
        rows = [["version", "pushed", "manifest", "aliases", "quarantined"]]
        for version in versions:
            named = ", ".join(alias for alias, number in aliases.items() if number == version.number)
            rows.append([f"{name}/{version.number}", version.pushed, version.digest[:12], named, version.quarantined])
        show_table(rows)
    if log:
        for r in opened.store.records():
            if r["model"] in models:
                words = [r["time"], r["who"], r["event"], f"{r['model']}/{r['version']}", r.get("alias"), r.get("why")]
                say("  ".join(word for word in words if word))
    if not models:
        say(f"{registry}: no models yet; push one with `roadcast models push`")
