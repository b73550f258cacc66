"""The composition root: what a configuration means, as objects. Nothing else builds adapters but the demo."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import torch
from prometheus_client import CollectorRegistry

from forecasters import Bank, build
from forecasters.anomaly import AlertOptions
from pipeline.backtest import derive_seed
from pipeline.codec import Codec, CodecOptions, FieldOptions, build_codec
from pipeline.config import Config, ConfigError
from pipeline.config.learning import LEADER
from pipeline.engine.options import IntakeOptions, LifeOptions, SensorAlertOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings, Settings
from pipeline.engine.shard import Shard
from pipeline.exporters.access import Credentials, Tls
from pipeline.exporters.exposition import expose
from pipeline.exporters.http import HttpOptions, HttpServer, Providers
from pipeline.exporters.kafka import KafkaEmitter
from pipeline.exporters.prometheus import MetricsExporter, register_process
from pipeline.exporters.quality import label_steps
from pipeline.globs import Globs
from pipeline.issued import Selection
from pipeline.kafka_options import EmitterOptions, KafkaOptions, take_kafka_options
from pipeline.keeper import Keeper
from pipeline.live.answers import Answers
from pipeline.live.overview import Overview
from pipeline.live.tracks import Tracks
from pipeline.live.view import LiveView
from pipeline.loader import Loader
from pipeline.one_core import use_one_core
from pipeline.ports import Emitter, Partition, Position, TopicFacts
from pipeline.readiness import Readiness
from pipeline.runner import Runner, RunnerParts
from pipeline.series_file import SeriesFile, read_series_file
from pipeline.showcase import Showcase, ShowcaseOptions
from pipeline.sources.kafka import KafkaSource
from pipeline.store import CheckpointStore, Choice, choose, describe_numerics, open_store

CLOSE_S = 1.0

log = logging.getLogger(__name__)


class Worker:
    """Everything of one worker, built from its configuration. `run` ends when it is told to.

    Raises ConfigError where the configuration can't be carried out.
    """

    def __init__(
        self, config: Config, *, kafka: KafkaOptions | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """kafka: how to reach the broker where that is more than section `kafka` can say."""
        self.config = config
        try:
            self.kafka = kafka or take_kafka_options(config.kafka)
            self.codec_options = read_codec_options(config)
            self.shard_options = read_shard_options(config)
            bank = build_bank(config, config.forecasters.seed)
            selection = Selection(bank.names, config.sent_forecasters)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.series_file = read_series(config)
        self._device = str(bank.device)
        self._numerics = describe_numerics(self._device)
        self._stores: dict[str, CheckpointStore] = {}
        self._warned: set[str] = set()
        self.registry = CollectorRegistry()
        register_process(self.registry)
        self.metrics = self._build_metrics(bank, now)
        self.readiness = Readiness()
        first = config.forecasters.first_champion
        shown = dict.fromkeys([*bank.nets, first])
        tracks = Tracks(bank.names, list(shown), label_steps(bank.scored))
        self.view = LiveView(self.metrics.figures, tracks, now=now)
        emitted = EmitterOptions(
            format=config.forecasts.format,
            steps=config.sent_steps,
            every=config.forecasts.every,
            software=f"gatecast {version('gatecast')}",
        )
        self.emitter = KafkaEmitter(
            self.kafka, emitted, lost_letter=lambda _: self.metrics.on_dead_letters_failed(1)
        )
        self.runner = build_runner(
            config,
            loader=Loader(self.choose, self.make_shard, self.make_codec, self.make_settings()),
            emitter=self.emitter,
            metrics=self.metrics,
            readiness=self.readiness,
            selection=selection,
            showcase=Showcase(self.read_showcase_options(), bank.names, time.monotonic),
            view=self.view,
            find_store=self.find_store,
            numerics=self._numerics,
            now=now,
        )
        self.source = KafkaSource(self.kafka, self.runner)
        self.overview = Overview(
            self.view, self.readiness, horizon=bank.horizon, champion=config.forecasters.champion, now=now
        )
        self.answers = Answers(self.runner, self.view, champion=first)
        self.server = HttpServer(
            read_http_options(config),
            Providers(
                metrics=partial(expose, self.registry),
                readiness=self.readiness,
                overview=self.overview.describe,
                series=self.answers.list_series,
                one_series=self.answers.describe_series,
                errors=self.answers.describe_errors,
                networks=self.answers.describe_networks,
            ),
        )

    def _build_metrics(self, bank: Bank, now: Callable[[], float]) -> MetricsExporter:
        config = self.config
        return MetricsExporter(
            self.registry,
            forecasters=bank.names,
            scored_steps=bank.scored,
            trained=bank.nets,
            parameters={name: bank.parameters(name) for name in bank.names},
            pairs=bank.pairs,
            shown_forecasters=config.shown_forecasters,
            shown_steps=config.shown_steps,
            champion=find_fixed_champion(config),
            topics=() if self.kafka.pattern else self.kafka.topics,
            software={
                "version": version("gatecast"),
                "python": platform.python_version(),
                "torch": torch.__version__,
            },
            now=now,
        )

    def run(self, is_over: Callable[[], bool]) -> None:
        """Serves until `is_over`, then saves what was learnt. Raises what only a person can mend."""
        use_one_core()
        self.server.start()
        log.info("listening at %s", self.server.url)
        try:
            self._wait_for_topics(is_over)
            self.runner.run(self.source, is_over)
        finally:
            self.emitter.close(CLOSE_S)
            self.server.stop()

    def _wait_for_topics(self, is_over: Callable[[], bool]) -> None:
        """Forecasts must have somewhere to go before the first reading is learnt."""
        while not is_over():
            try:
                return self.emitter.prepare()
            except TimeoutError as error:
                self.readiness.hinder(str(error))
                log.warning("waiting for the broker: %s", error)

    def declare(self) -> None:
        """Reads the series file again; what can't be read leaves what holds now."""
        try:
            self.series_file = read_series(self.config)
        except ConfigError as error:
            log.error("the series file is not taken over: %s", error)
            return
        log.info("series file read again; it counts from the next checkpoints on")
        self.runner.declare(self.make_settings())

    # -- what loader and keeper ask for -------------------------------------------------------------------

    def choose(self, partition: Partition, committed: Position | None, facts: TopicFacts) -> Choice:
        if facts.timestamp_type == "CreateTime" and partition.topic not in self._warned:
            self._warned.add(partition.topic)
            log.warning(
                "topic %s has message.timestamp.type=CreateTime: what readings' clocks say decides about "
                "lateness and retention; LogAppendTime is advised (`gatecast topics create`)",
                partition.topic,
            )
        return choose(
            self.find_store(partition.topic),
            committed,
            facts.topic_id,
            partition.partition,
            facts.partitions,
            self.config.kafka.start,
            self._numerics,
        )

    def find_store(self, topic: str) -> CheckpointStore:
        if topic not in self._stores:
            self._stores[topic] = open_store(self.config.checkpoints.url, self.config.kafka.group, topic)
        return self._stores[topic]

    def make_shard(self, partition: Partition, facts: TopicFacts, settings: Settings) -> Shard:
        seed = derive_seed(self.config.forecasters.seed, partition.partition)
        bank = build_bank(self.config, seed, facts.partitions)
        return Shard(bank, self.shard_options, settings, partition.partition, facts.partitions)

    def make_codec(self) -> Codec:
        return build_codec(self.codec_options)

    def read_showcase_options(self) -> ShowcaseOptions:
        config, globs = self.config, Globs(self.config.metrics.watch)
        return ShowcaseOptions(
            forecasters=config.shown_forecasters,
            steps=config.shown_steps,
            max_series=config.metrics.max_series,
            # asks the series file as it is by then
            is_watched=lambda series: bool(globs.find(series) or self.series_file.profile(series).watch),
            champion=config.forecasters.first_champion,
        )

    def make_settings(self) -> Settings:
        """What is declared of a series as the series file says now, whatever becomes of it later."""
        return partial(read_settings, self.config, self.series_file)


def find_fixed_champion(config: Config) -> str | None:
    """Whom all series follow; None where each has its own."""
    champion = config.forecasters.champion
    return None if champion == LEADER else champion


def build_runner(
    config: Config,
    *,
    loader: Loader,
    emitter: Emitter,
    metrics: MetricsExporter,
    readiness: Readiness,
    selection: Selection,
    showcase: Showcase,
    view: LiveView,
    find_store: Callable[[str], CheckpointStore],
    numerics: dict[str, str | int],
    now: Callable[[], float],
) -> Runner:
    keeper = Keeper(
        find_store,
        emitter,
        metrics,
        interval_s=config.checkpoints.interval_s,
        numerics=numerics,
        keep=config.checkpoints.keep,
        daily_days=config.checkpoints.daily_days,
    )
    parts = RunnerParts(
        loader=loader,
        keeper=keeper,
        emitter=emitter,
        observer=metrics,
        readiness=readiness,
        selection=selection,
        showcase=showcase,
        view=view,
    )
    return Runner(parts, now=now)


def build_bank(config: Config, seed: int, partitions: int = 1) -> Bank:
    """partitions: of the topic, which share a budget for the deployment.

    Raises ConfigError for what `forecasters.build` refuses.
    """
    models = config.forecasters
    try:
        return build(
            models.names,
            horizon=models.horizon,
            seed=seed,
            device=models.device,
            coverage=models.coverage,
            hidden=models.hidden,
            layers=models.layers,
            chunk=config.learning.chunk,
            replay=config.learning.replay,
            rate=config.learning.rate,
            max_rate=config.learning.max_rate,
            alerts=read_alert_options(config, partitions),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except (RuntimeError, AssertionError) as error:  # of torch, for a device that it does not have
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {models.device!r} can't be used ({reason}); try cpu") from error


def read_alert_options(config: Config, partitions: int) -> AlertOptions:
    """A budget for the deployment is split evenly: what other partitions hold is not in a partition's log."""
    alerts, share = config.alerts, 1 if config.alerts.budget_is_per_series else max(partitions, 1)
    return AlertOptions(
        champion=config.forecasters.champion,
        episodes_per_day=alerts.budget_per_day / share,
        per_series=alerts.budget_is_per_series,
        grid_ms=alerts.grid_s * 1000,
        hold=alerts.hold_steps,
        per_hour=alerts.max_per_hour,
    )


def read_codec_options(config: Config) -> CodecOptions:
    """Raises ValueError."""
    readings = config.readings
    return CodecOptions(
        format=readings.format,
        fields=FieldOptions(**readings.fields.model_dump()),
        time_unit=readings.time_unit,
        decimal=readings.decimal,
        max_message_bytes=readings.max_message_bytes,
        max_readings=readings.max_readings,
    )


def read_shard_options(config: Config) -> ShardOptions:
    """Raises ValueError."""
    readings = config.readings
    return ShardOptions(
        intake=IntakeOptions(
            cadence_ms=readings.cadence_ms,
            season_ms=readings.season_ms,
            max_gap=readings.max_gap,
            cadence_readings=readings.cadence_readings,
            max_series=readings.max_series,
            within_step=readings.within_step,
            lateness_ms=readings.lateness_ms,
            max_ahead_ms=readings.max_ahead_s * 1000,
            placement=readings.placement,
        ),
        life=LifeOptions(retire_after_ms=readings.retire_after_s * 1000),
        alerts=SensorAlertOptions(
            masked_in_a_row=config.alerts.masked_in_a_row, silent_after_ms=readings.silent_after_s * 1000
        ),
        champion=config.forecasters.champion,
    )


def read_settings(config: Config, series_file: SeriesFile, series: str) -> SeriesSettings:
    """What is declared of a series, with what the configuration says where its file says nothing."""
    known = series_file.profile(series)
    labels = {name: getattr(known, name) or "" for name in ("site", "area", "equipment", "owner")}
    return SeriesSettings(
        cadence_ms=known.cadence_ms,
        season_ms=known.season_ms,
        by_exception=(known.mode or config.readings.mode) == "by_exception",
        silent_after_ms=known.silent_after_ms,
        minimum=known.minimum,
        maximum=known.maximum,
        off_when=known.off_when,
        min_abs=known.min_abs or 0.0,
        min_rel=known.min_rel or 0.0,
        direction=known.direction or "both",
        name=known.name or series,
        unit=known.unit or "",
        severity=known.severity or "page",
        labels=labels,
    )


def read_series(config: Config) -> SeriesFile:
    """Raises ConfigError."""
    path = config.readings.series_file
    return SeriesFile() if path is None else read_series_file(path)


def read_http_options(config: Config) -> HttpOptions:
    server = config.server
    tls = credentials = None
    if server.tls_cert_file is not None and server.tls_key_file is not None:
        tls = Tls(certificate_file=server.tls_cert_file, key_file=server.tls_key_file)
    if server.username is not None and server.password is not None:
        credentials = Credentials(username=server.username, password=server.password.get_secret_value())
    return HttpOptions(host=server.host, port=server.port, tls=tls, credentials=credentials)
