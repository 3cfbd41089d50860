"""Corpora of measured faces, made small after their published descriptions (docs/import.md names these). No data of
anybody: numbers are drawn, and a label shows in how strongly and how often action units move.
"""

from pathlib import Path

import numpy as np

AU_R = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
AU_C = (*AU_R[:-1], "28", "45")
CLNF_R = ("01", "02", "04", "05", "06", "09", "10", "12", "14", "15", "17", "20", "25", "26")
CLNF_C = ("04", "12", "15", "23", "28", "45")


def named(pattern, numbers):
    return [pattern.format(number) for number in numbers]


EYES, FACE = range(56), range(68)
GAZE = [*(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"), "gaze_angle_x", "gaze_angle_y"]
POSE = [f"pose_{what}{axis}" for what in "TR" for axis in "xyz"]
OPENFACE = [  # all 714 of FeatureExtraction 2.2
    "frame", "face_id", "timestamp", "confidence", "success", *GAZE,
    *(f"eye_lmk_{axis}_{n}" for axis in "xyXYZ" for n in EYES), *POSE,
    *(f"{axis}_{n}" for axis in "xyXYZ" for n in FACE),
    *(f"p_{what}" for what in ("scale", "rx", "ry", "rz", "tx", "ty")), *named("p_{}", range(34)),
    *named("AU{}_r", AU_R), *named("AU{}_c", AU_C),
]  # fmt: skip


def measured(columns, frames, seed, depressed=False, rate=30.0):
    """Values by column: a face that moves slowly about the middle of a picture."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(size=frames)) / 10
    found = {}
    for place, name in enumerate(columns):
        if name == "frame":
            values = np.arange(1, frames + 1)
        elif name == "timestamp":
            values = np.round(np.arange(frames) / rate, 3)
        elif name == "confidence":
            values = np.full(frames, 0.98)
        elif name == "success":
            values = np.ones(frames, int)
        elif name == "face_id":
            values = np.zeros(frames, int)
        elif name.startswith("AU") and name.endswith("_c"):
            values = (rng.random(frames) < (0.1 if depressed else 0.6)).astype(int)
        elif name.startswith("AU"):
            values = np.round(np.abs(rng.normal(size=frames)) * (0.3 if depressed else 1.5), 2)
        elif name[0] in "xyXYZ":
            values = np.round(300 + 40 * np.sin(place) + drift + rng.normal(size=frames) / 10, 1)
        elif "T" in name:
            values = np.round(600 + 10 * drift + rng.normal(size=frames), 1)
        else:
            values = np.round(rng.normal(size=frames) / 10, 3)
        found[name] = values
    return found


def write_table(file, values, blanks=" ", lost=(), gone="0"):
    """A CSV as OpenFace writes it: a blank before each heading but the first. In `lost` frames success is 0."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = list(values)
    columns = [[str(value) for value in values[name]] for name in names]
    about = ("frame", "face_id", "timestamp", "confidence", "success")
    for column, name in zip(columns, names, strict=True):
        for row in lost:
            if name not in about:
                column[row] = gone
            elif name in ("confidence", "success"):
                column[row] = "0"
    lines = [f",{blanks}".join(names), *(f",{blanks}".join(row) for row in zip(*columns, strict=True))]
    file.write_text("\n".join(lines) + "\n")


def openface(folder, clips=8, frames=60, columns=OPENFACE):
    """FeatureExtraction's output: a CSV a clip, its account beside it, and a labels.csv of ours."""
    rows = ["path,subject,label"]
    for n in range(clips):
        write_table(folder / f"clip{n}.csv", measured(columns, frames, n, n % 2 == 0), lost=(3, 4))
        (folder / f"clip{n}_of_details.txt").write_text("Input:clip\n")
        rows.append(f"clip{n}.csv,p{n},{'depressed' if n % 2 == 0 else 'control'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def daic(folder, sessions=range(300, 312), frames=60):
    """DAIC-WOZ as AVEC 2017 handed it out. Of lost frames some tables say -1.#IND."""
    split = {n: ("train", "dev", "test")[0 if i < 6 else 1 if i < 9 else 2] for i, n in enumerate(sessions)}
    aus = [*named("AU{}_r", CLNF_R), *named("AU{}_c", CLNF_C)]
    parts = {
        "AUs": aus,
        "gaze": [f"{a}_{b}" for b in ("0", "1", "h0", "h1") for a in "xyz"],
        "pose": ["Tx", "Ty", "Tz", "Rx", "Ry", "Rz"],
        "features": [f"{a}{n}" for a in "xy" for n in FACE],
        "features3D": [f"{a}{n}" for a in "XYZ" for n in FACE],
    }
    for n in sessions:
        for part, columns in parts.items():
            named_columns = ["frame", "timestamp", "confidence", "success", *columns]
            values = measured(named_columns, frames, n, n % 2 == 0)
            write_table(folder / f"{n}_P" / f"{n}_CLNF_{part}.txt", values, lost=(5,), gone="-1.#IND")
        (folder / f"{n}_P" / f"{n}_CLNF_hog.bin").write_bytes(bytes(64))
        (folder / f"{n}_P" / f"{n}_AUDIO.wav").write_bytes(b"RIFF")
        (folder / f"{n}_P" / f"{n}_COVAREP.csv").write_text("0,0\n")
        (folder / f"{n}_P" / f"{n}_TRANSCRIPT.csv").write_text("start_time\tstop_time\tspeaker\tvalue\n")
    questions = "PHQ8_NoInterest,PHQ8_Depressed,PHQ8_Sleep,PHQ8_Tired,PHQ8_Appetite,PHQ8_Failure"
    for name in ("train", "dev"):
        rows = [f"Participant_ID,PHQ8_Binary,PHQ8_Score,Gender,{questions},PHQ8_Concentrating,PHQ8_Moving"]
        rows += [f"{n},{_sad(n)},{4 + 8 * _sad(n)},{n % 2},0,0,0,0,0,0,0,0" for n in sessions if split[n] == name]
        (folder / f"{name}_split_Depression_AVEC2017.csv").write_text("\n".join(rows) + "\n")
    rows = [f"{n},{n % 2}" for n in sessions if split[n] == "test"]
    (folder / "test_split_Depression_AVEC2017.csv").write_text("\n".join(["participant_ID,Gender", *rows]) + "\n")
    rows = [f"{n},{_sad(n)},{4 + 8 * _sad(n)},{n % 2}" for n in sessions if split[n] == "test"]
    (folder / "full_test_split.csv").write_text("\n".join(["Participant_ID,PHQ_Binary,PHQ_Score,Gender", *rows]) + "\n")
    return folder


def _sad(number):
    return int(number % 2 == 0)


def edaic(folder, sessions=range(600, 612), frames=60):
    """E-DAIC as AVEC 2019 handed it out."""
    columns = ["frame", "timestamp", "confidence", "success", *POSE, *GAZE, *named("AU{}_r", AU_R)]
    columns += named("AU{}_c", AU_C)
    rows = {
        name: ["Participant_ID,Gender,PHQ_Binary,PHQ_Score,PCL-C (PTSD),PTSD Severity"]
        for name in ("train", "dev", "test")
    }
    for i, n in enumerate(sessions):
        place = folder / f"{n}_P"
        values = measured(columns, frames, n, n % 2 == 0)
        write_table(place / "features" / f"{n}_OpenFace2.1.0_Pose_gaze_AUs.csv", values, lost=(7,))
        (place / "features" / f"{n}_OpenSMILE2.3.0_egemaps.csv").write_text("name;frameTime\n")
        (place / "features" / f"{n}_CNN_ResNet.mat").write_bytes(bytes(8))
        (place / f"{n}_Transcript.csv").write_text("Start_Time,End_Time,Text,Confidence\n")
        name = "train" if i < 6 else "dev" if i < 9 else "test"
        rows[name].append(f"{n},{'female' if n % 2 else 'male'},{_sad(n)},{4 + 8 * _sad(n)},0,20")
    (folder / "labels").mkdir()
    for name, lines in rows.items():
        (folder / "labels" / f"{name}_split.csv").write_text("\n".join(lines) + "\n")
    return folder


def dvlog(folder, clips=14, seconds=40):
    """D-Vlog as its authors hand it out: 68 landmarks and 25 of sound, one a second; a frame without a face is 0."""
    rows = ["index,label,duration,gender,fold"]
    for n in range(clips):
        rng, place = np.random.default_rng(n), folder / str(n)
        place.mkdir(parents=True)
        values = 0.5 + rng.normal(size=(seconds, 136)) * (0.02 if n % 2 == 0 else 0.1)
        values[2] = 0
        np.save(place / f"{n}_visual.npy", values)
        np.save(place / f"{n}_acoustic.npy", rng.normal(size=(seconds, 25)))
        fold = "train" if n < 8 else "valid" if n < 11 else "test"
        rows.append(f"{n},{'depression' if n % 2 == 0 else 'normal'},{seconds}.0,{'mf'[n % 2]},{fold}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def lmvd(folder, clips=14, frames=60, arrays=False):
    """LMVD as its authors hand it out: OpenFace's CSVs, VGGish arrays, and a label a file whose heading it is.

    With `arrays` what their tcnfeature.py makes of the CSVs is there instead: 171 values, five a second.
    """
    (folder / "label").mkdir(parents=True)
    (folder / "Audio_feature").mkdir()
    for n in range(1, clips + 1):
        sad = n % 2 == 0
        values = measured(OPENFACE, frames, n, sad)
        if arrays:
            parts = [named("AU{}_r", AU_R), [f"{a}_{k}" for a in "xy" for k in FACE], GAZE[:6], None, POSE]
            blocks = [np.zeros((frames, 6)) if p is None else np.stack([values[c] for c in p], 1) for p in parts]
            (folder / "Video_feature").mkdir(exist_ok=True)
            np.save(folder / "Video_feature" / f"{n:03}.npy", np.concatenate(blocks, 1))
        else:
            write_table(folder / "Video_feature" / f"{n:03}.csv", values, lost=(1,))
        np.save(folder / "Audio_feature" / f"{n:03}.npy", np.zeros((10, 128)))
        (folder / "label" / f"{n:03}_Depression.csv").write_text(f"{int(sad)}\n")
    return folder


CORPORA = {  # maker, --format, --name
    "openface": (openface, "openface", "openface:au,openface:pose"),
    "daic": (daic, "daic", "clnf:au,clnf:pose"),
    "edaic": (edaic, "daic", "openface:au"),
    "dvlog": (dvlog, "dvlog", "dvlog:landmarks"),
    "lmvd": (lmvd, "lmvd", "openface:au"),
}


def make(name, folder):
    """A corpus of `CORPORA`, with the options that import it."""
    maker, layout, taps = CORPORA[name]
    return maker(Path(folder)), ["--format", layout, "--name", taps]
