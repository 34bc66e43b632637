/* Semantic versioning; what it covers is said in docs/versions.md. */
#ifndef BERTH_LIB_BASE_VERSION_H
#define BERTH_LIB_BASE_VERSION_H

#define BERTH_VERSION "0.1.0"

#endif
