"""Data sets: where images come from, and what is done to them on their way into a network.

data_set     `DataSet`, and `load`, which knows the sets by name
archives     CIFAR and MNIST, as their authors publish them; downloads fetches them once
folders      class folders; imagefolder reads them whole, on_disk decodes while training goes on,
             of each picture a window
selecting    which pictures are held out to select with; doubles: images that are in a set twice
overview     what is said of a folder
augment      augmentation, resampling, mixing and normalisation of a batch
"""

from snn_train.data.data_set import DataSet, load

__all__ = ["DataSet", "load"]
