#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Where roots lie: disks of virtual machines, NVMe, SATA, persistent memory. Only kernels with modules have something to add.

check() {
	return 255
}

depends() {
	echo limpid-init
}

installkernel() {
	hostonly='' instmods virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod \
		nvme vmd ahci ata_piix ata_generic \
		nd_pmem virtio_pmem nfit \
		hv_storvsc vmw_pvscsi xen-blkfront
}
