"""One take of a drummer: sound, movement, muscles and annotations, brought to one time axis by xarray."""

from __future__ import annotations

import os
from contextlib import ExitStack

import fsspec
import numpy as np
import xarray as xr

from rinofs.datapack import write
from rinofs.plotting import plot, save

SECONDS = 10
STROKES = np.arange(0.6, SECONDS, 0.75)
PUBLISHED = {"sound": "mono audio", "movement": "3-axis accelerometer", "muscles": "MYO 8-channel EMG"}


def decay(rate: float, speed: float) -> np.ndarray:
    """Return how strong the strokes are at each sample."""
    time = np.arange(SECONDS * rate) / rate
    return sum(np.exp(-(time - stroke).clip(0) * speed) * (time >= stroke) for stroke in STROKES)


def stream(name: str, units: str, rate: float, values: np.ndarray, channels: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {name: (("time", "channel"), values, {"units": units})},
        coords={"time": np.arange(len(values)) / rate, "channel": channels},
    )


def record() -> xr.DataTree:
    """Make the take up."""
    random = np.random.default_rng(seed=7)
    tone = np.sin(np.arange(SECONDS * 44100) / 40)
    sound = (0.5 * decay(44100, 9) * tone + random.normal(0, 0.005, tone.size)).astype("float32")
    arm = decay(200, 12)[:, None] * [1.5, -0.6, 0.3] + random.normal([0, 0, 1], 0.03, (SECONDS * 200, 3))
    gain = np.linspace(10, 60, 8) * decay(200, 5)[:, None] + 3
    muscles = random.normal(0, gain).round().clip(-128, 127).astype(int)
    tree = {
        "sound": stream("audio_intensity", "a.u.", 44100, sound[:, None], ["M"]),
        "movement": stream("acceleration", "g", 200, arm, ["X", "Y", "Z"]),
        "muscles": stream("muscle_activity", "a.u.", 200, muscles, [f"EMG {n}" for n in range(1, 9)]),
        "strokes": xr.Dataset(
            {
                "onset_time": ("event", STROKES, {"units": "s"}),
                "offset_time": ("event", STROKES + 0.3, {"units": "s"}),
                "offset_type": ("event", np.array(["left", "right"])[np.arange(STROKES.size) % 2]),
            }
        ),
    }
    # Streams that say what they are refer to the datatypes that the service publishes.
    return xr.DataTree.from_dict(
        {name: part.assign_attrs(datatype=PUBLISHED.get(name, "drum notes")) for name, part in tree.items()}
    )


def together(take: xr.DataTree) -> xr.Dataset:
    """Bring what happens in all streams to one axis, 100 times a second."""
    sound, arm, emg = (next(iter(take[name].data_vars.values())) for name in PUBLISHED)
    for each in (sound, arm, emg):
        print(f"{each.name}: {each.sizes['time']} samples at {each.sampling_rate:g} Hz in {each.units}")
    time = np.arange(0.05, SECONDS - 0.05, 0.01)
    loudness = abs(sound).coarsen(time=441, boundary="trim").max().isel(channel=0, drop=True)
    shock = (arm - arm.mean("time")).max("channel")
    power = (emg.astype(float) ** 2).mean("channel")
    signals = {
        "loudness": loudness.assign_attrs(units=sound.units),
        "shock": shock.assign_attrs(units=arm.units),
        "muscle_power": power.assign_attrs(units=f"{emg.units}²", long_name="muscle power"),
    }
    return xr.Dataset({name: signal.interp(time=time) for name, signal in signals.items()})


def main(options: dict[str, str]) -> None:
    formats = {"": "json", "sound": "wav", "muscles": "npy"}
    url = write(record(), "repovizz://drummer", formats, storage_options=options)

    # Times, channels and units come back from the datatypes; samples are read when they are used.
    with xr.open_datatree(url, engine="datapack", storage_options=options) as take:
        strokes = take["strokes"].to_dataset().load()
        first = strokes.isel(event=0)
        hit = take["movement"].acceleration.sel(time=slice(first.onset_time, first.offset_time))
        print(f"the first stroke peaks at {float(hit.max()):.1f} {hit.units}")
        signals = together(take).load()
    agreement = float(xr.corr(signals.loudness, signals.shock))
    print(f"loudness and shock correlate by {agreement:.2f}")

    shown = {"/": xr.Dataset(attrs={"name": "drummer"}), "100 Hz": signals, "strokes": strokes}
    save(plot(xr.DataTree.from_dict(shown)), "multimodal.png", dpi=90)
    fsspec.filesystem("repovizz", **options).rm("drummer", recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoint and the token come from the environment
        if "FSSPEC_REPOVIZZ_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
