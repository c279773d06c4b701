"""Packs as Lightning data: which rows train, validate and test, and in what order they come."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, Int8, UInt8
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from evax.data.augmentation import augmentation
from evax.data.checks import accumulation, check_choice, check_resumed, check_sizes, rows_in
from evax.data.dataset import Masking, PackDataset, as_it_is
from evax.data.film_view import FilmView, view_of
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.labels import LabelPolicy, Targets
from evax.data.leakage import Cohort, check_gate, cohort
from evax.data.masks import MaskPolicy
from evax.data.near import NearDuplicates, families_of_look_alikes
from evax.data.pack import Pack
from evax.data.paired import Photometric
from evax.data.sampler import (
    EvaluationBatchSampler,
    ResumableBatchSampler,
    WeightedBatchSampler,
    num_draws,
)
from evax.data.splits import OFFICIAL, TRAIN
from evax.data.subset import FractionOf, Sampling, film_weights, labels_of_others, of_films, of_patients
from evax.data.transforms import Crop


class PackDataModule(LightningDataModule):
    """Films of one pack.

    `split` names a scheme of the pack (default: official), `fit_on` its splits that train (default: train);
    `published` is for `evax.runs.settings.settle_published`. `fraction` is the share of training patients (nested: a
    smaller fraction is a subset of a larger one, with the same shares of the findings), or of films, drawn plainly,
    with `fraction_of="films"`; `fraction_seed` (default: `seed`) draws it. With `keep_epoch` an epoch of a fraction is
    as long as one of all films. `sampling` says how often a film comes by its labels
    (`evax.data.subset.film_weights`). `shuffle_labels` is a control: training films get each other's labels.
    `near_duplicates="exclude"` leaves out training patients with a film that looks like one of another patient in val
    or test. `batch_size` is global; `per_device_batch` (default: all of a device's share) decides accumulation and
    changes no result. `masking` hides patches of the student's grid. With `labels` samples have targets, and
    `select_on` names the split that chooses the best checkpoint. With `masks`, instead, they have the films' classes.
    `randaugment` is a policy of timm's, `photometric` a change of exposure; `resize_to` (pixels) makes evaluation read
    the middle of a film of that size instead of the whole film. Subclasses name one data set.
    """

    def __init__(
        self,
        *,
        pack: str | Path | Pack,
        image_size: int,
        batch_size: int,
        seed: int,
        split: str | None = None,
        fit_on: Sequence[str] | None = None,
        published: Mapping[str, Any] | None = None,
        fraction: float = 1.0,
        fraction_of: FractionOf | None = None,
        fraction_seed: int | None = None,
        keep_epoch: bool = False,
        sampling: Sampling = "uniform",
        shuffle_labels: bool = False,
        near_duplicates: NearDuplicates = "report",
        crop: Crop | None = None,
        randaugment: str | None = None,
        photometric: Photometric | None = None,
        augment: bool = True,
        resize_to: int | None = None,
        masking: Masking | None = None,
        labels: LabelPolicy | None = None,
        masks: MaskPolicy | None = None,
        select_on: Literal["val", "test"] | None = None,
        patch_size: int = 16,
        per_device_batch: int | None = None,
        num_workers: int | None = None,
    ) -> None:
        super().__init__()
        has_labels, has_masks = labels is not None, masks is not None
        check_choice(
            fraction=fraction,
            fraction_of=fraction_of,
            near_duplicates=near_duplicates,
            has_labels=has_labels,
            has_masks=has_masks,
            needs_labels=sampling != "uniform" or shuffle_labels,
        )
        check_sizes(image_size, patch_size, resize_to, has_masks=has_masks, hides=masking is not None)
        self.pack = pack if isinstance(pack, Pack) else Pack(pack)
        self.image_size, self.batch_size, self.seed = image_size, batch_size, seed
        self.split, self.fit_on, self.fraction = split or OFFICIAL, TRAIN if fit_on is None else tuple(fit_on), fraction
        self.fraction_of, self.fraction_seed = fraction_of, seed if fraction_seed is None else fraction_seed
        self.sampling, self.shuffle_labels = sampling, shuffle_labels
        self.crop, self.masking = crop or Crop(), masking
        self.augment = augmentation(image_size, self.crop, randaugment, photometric, augment=augment, paired=has_masks)
        self.resize_to, self.labels, self.masks, self.select_on = resize_to, labels, masks, select_on or "val"
        self.classes = self._classes()
        self.grid = (image_size // patch_size,) * 2
        self.per_device_batch, self.num_workers = per_device_batch, num_workers
        available = self._apart(self.rows(*self.fit_on), near_duplicates) if self.fit_on else np.zeros(0, np.int64)
        self.train_rows = self._fraction_of(available)
        self.groups, self.group_weights = self._groups(len(available) / len(self.train_rows) if keep_epoch else 1.0)
        is_published = self.split in self.pack.manifest.leaky
        self.gate = check_gate(cohort(self.pack, self.split, self.fit_on), self.test_sets(), published=is_published)

    def _classes(self) -> tuple[str, ...]:
        """What the labels or masks name; without either there is nothing."""
        if self.masks is not None:
            self.masks.check(self.pack, is_learned=bool(self.fit_on))
            return tuple(self.masks.classes)
        return self.labels.classes(self.pack.findings) if self.labels is not None else ()

    def test_sets(self) -> list[Cohort]:
        """What the training films may share no patient and no film with."""
        return [cohort(self.pack, self.split, ["test"])]

    def rows(self, *splits: str) -> Int[np.ndarray, "R"]:
        """Rows of the pack in any of the splits, ascending; an empty result is an error naming the scheme."""
        return rows_in(self.pack, self.split, splits)

    def holds(self, split: str) -> bool:
        """Whether any film of the pack is in a split."""
        return bool(self.pack.is_in(self.split, (split,)).any())

    @property
    def has_val_apart(self) -> bool:
        """Whether there are val films that did not train, so that they may choose thresholds."""
        return self.holds("val") and "val" not in self.fit_on

    def _apart(self, rows: Int[np.ndarray, "R"], near_duplicates: NearDuplicates) -> Int[np.ndarray, "R2"]:
        """Training rows without the families of films that look like one of another split, if those are to go."""
        if near_duplicates == "report":
            return rows
        others = self.pack.is_in(self.split, {"train", "val", "test"} - set(self.fit_on))
        family = families_of_look_alikes(self.pack)
        return rows[~np.isin(family[rows], family[others])]

    def _fraction_of(self, rows: Int[np.ndarray, "R"]) -> Int[np.ndarray, "R2"]:
        if self.fraction == 1:
            return rows
        generator = keyed_generator(self.fraction_seed, Stream.SPLIT)
        if self.fraction_of == "films":
            return rows[of_films(self.fraction, len(rows), generator)]
        return rows[of_patients(self.fraction, self.pack.patients[rows], self._shown(rows), generator)]

    def _shown(self, rows: Int[np.ndarray, "R"]) -> Bool[np.ndarray, "R C"]:
        """Which classes the labels of films show; without labels there is no class."""
        return self.targets_of(rows).targets == 1 if self.labels is not None else np.zeros((len(rows), 0), bool)

    def _groups(self, repeats: float) -> tuple[list[Int[np.ndarray, "_"]], list[float]]:
        """Places among the training films that come equally often, and how often: by `sampling`, times `repeats`."""
        if self.sampling == "uniform":
            return [np.arange(len(self.train_rows))], [repeats]
        shows = self.taught(self.train_rows).targets > 0.5
        values, group = np.unique(film_weights(shows, self.classes, self.sampling), return_inverse=True)
        return [np.flatnonzero(group == number) for number in range(len(values))], (repeats * values).tolist()

    def accumulation(self, world_size: int) -> int:
        """Micro-batches per optimizer step on this many devices; ValueError where the batch does not divide."""
        return accumulation(self.batch_size, self._micro_batch(world_size), world_size)

    def _micro_batch(self, world_size: int) -> int:
        share = max(1, self.batch_size // world_size)
        return min(self.per_device_batch or share, share)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch, the same for any number of devices."""
        return self.films_per_epoch // self.batch_size

    @property
    def films_per_epoch(self) -> int:
        """Samples of an epoch, the last incomplete batch included."""
        return sum(map(num_draws, map(len, self.groups), self.group_weights))

    def dataset(self, rows: Int[np.ndarray, "R"], *, augment: bool = False, mask: bool = True) -> PackDataset:
        """Samples of `rows`; validation masks are fixed, as of epoch 0."""
        return PackDataset(
            self.pack,
            rows,
            size=self.image_size,
            seed=self.seed,
            augment=self.augment if augment else None,
            resize_to=self.resize_to,
            masking=self.masking if mask else None,
            grid=self.grid,
            targets=self._all_targets(for_training=augment) if self.labels is not None else None,
            masks=self.masks,
        )

    def mask_of(self, row: int) -> UInt8[np.ndarray, "H W"]:
        """What a film's pixels show, as the pack has them: 0 background, k + 1 the k-th class."""
        assert self.masks is not None
        return self.masks.of_film(self.pack, row)

    def _all_targets(self, *, for_training: bool) -> Targets:
        every = np.arange(len(self.pack))
        return self.taught(every) if for_training else self.targets_of(every)

    def targets_of(self, rows: Int[np.ndarray, "R"]) -> Targets:
        """What the films of some rows show, as scores need it: 1, 0, or not known."""
        return self._targets(np.asarray(self.pack.labels)[rows], soft=False)

    def taught(self, rows: Int[np.ndarray, "R"]) -> Targets:
        """What training is told that films show: numbers in [0, 1], and others' labels under `shuffle_labels`."""
        labels = np.asarray(self.pack.labels)
        if self.shuffle_labels:
            others = labels_of_others(self.pack.patients[self.train_rows], keyed_generator(self.seed, Stream.SHUFFLE))
            labels = np.array(labels)
            labels[self.train_rows] = labels[self.train_rows[others]]
        targets, is_known = self._targets(labels, soft=True)  # of every film: soft ones are drawn by row
        return Targets(targets[rows], is_known[rows])

    def _targets(self, labels: Int8[np.ndarray, "R K"], *, soft: bool) -> Targets:
        assert self.labels is not None
        return self.labels.targets(labels, self.pack.findings, soft=soft)

    @property
    def view(self) -> FilmView:
        """How a film that is in no pack comes to look as evaluation's films do."""
        return view_of(self.pack.manifest, self.image_size, self.resize_to)

    def train_dataloader(self) -> DataLoader:
        """Micro-batches of this rank from the optimizer step that the trainer has reached."""
        sampler = self.train_sampler(
            seed=self.seed,
            global_batch=self.batch_size,
            micro_batch=self._micro_batch(self.trainer.world_size),
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            step=self.trainer.global_step,
        )
        return self._loader(self.dataset(self.train_rows, augment=True), sampler)

    def train_sampler(self, **place: Any) -> ResumableBatchSampler:
        """The order of the training films, for a place: seed, batches, rank and step."""
        return WeightedBatchSampler(self.groups, self.group_weights, **place)

    def val_dataloader(self) -> DataLoader:
        """Every film of the split that selects, once over all ranks."""
        return self.evaluation_loader(self.dataset(self.rows(self.select_on)))

    def evaluation_loader(self, dataset: PackDataset) -> DataLoader:
        """Every sample once over all ranks, in order, whole films."""
        world_size = self.trainer.world_size if self.trainer else 1
        sampler = EvaluationBatchSampler(
            len(dataset),
            micro_batch=self._micro_batch(world_size),
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=world_size,
        )
        return self._loader(dataset, sampler)

    def local_loader(self, dataset: PackDataset) -> DataLoader:
        """Every sample on this rank alone, in order, read in the calling process."""
        sampler = EvaluationBatchSampler(len(dataset), micro_batch=self._micro_batch(1))
        return DataLoader(dataset, batch_sampler=sampler, collate_fn=as_it_is)

    def _loader(self, dataset: PackDataset, sampler: Any) -> DataLoader:
        workers = self.num_workers if self.num_workers is not None else self._default_workers()
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_gpu,
        )

    def _default_workers(self) -> int:
        """None on the CPU, where training needs the cores itself; up to 8 a device otherwise."""
        on_cpu = self.trainer is None or self.trainer.strategy.root_device.type == "cpu"
        return 0 if on_cpu else min(8, (os.cpu_count() or 1) // max(1, self.trainer.num_devices))

    def state_dict(self) -> dict[str, Any]:
        """What decides the order of samples; a resume must agree with it."""
        return {
            "seed": self.seed,
            "num_films": self.films_per_epoch,
            "batch_size": self.batch_size,
            "pack_digest": self.pack.digest,
            "split": self.split,
            "gate": self.gate,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with other data than the checkpoint's."""
        check_resumed(state_dict, self.state_dict())


class PhantomData(PackDataModule):
    """Procedural chest phantoms: a test object, never medical data."""


class ChestXray14Data(PackDataModule):
    """NIH ChestX-ray14 (Wang et al. 2017): 112,120 films, 14 findings, official patient-disjoint test list."""


class CheXpertData(PackDataModule):
    """CheXpert v1.0 (Irvin et al. 2019): 14 observations, uncertain or blank too; 191,027 frontal training films."""


class MimicCxrData(PackDataModule):
    """MIMIC-CXR (Johnson et al. 2019): 14 observations of CheXpert's labeller; 243,334 films in AP or PA."""


class CovidX3Data(PackDataModule):
    """COVIDx CXR-3 (Wang et al. 2020): normal, pneumonia or COVID-19, one a film; 30,130 and 400 films of 9A."""


class CovidX4Data(PackDataModule):
    """COVIDx CXR-4 (Wang et al. 2020): COVID-19 negative or positive; 67,863 training and 8,473 validation films."""


class FolderData(PackDataModule):
    """Films of the user's own, in a folder, with the labels of a table or without."""
