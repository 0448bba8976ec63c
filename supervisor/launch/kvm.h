// SPDX-License-Identifier: Apache-2.0
/*
 * /dev/kvm, opened for the runners, which may not open it themselves. A KVM without hardware
 * virtualization (one that emulates or paravirtualizes) opens and makes virtual machines all the
 * same, but Linux never comes up in them: that is found out here, before a zone is started. Any
 * thread.
 */
#pragma once

#include "base/error.h"

/*
 * Opens the KVM device at path; the caller closes it. The processor is asked only when path really
 * is KVM, so that tests can name another device. Returns the descriptor; -EACCES, -ENOENT or
 * another negative errno when it cannot be opened, -ENODEV when it cannot boot Linux, with *err
 * set.
 */
int kvm_open(const char *path, struct error *err);
