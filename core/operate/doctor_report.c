/* doctor_report.c - one row of the doctor: how each part says what it found. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>

void doctor_report(const struct doctor_sink *sink, enum lsn_probe_level level, const char *area, const char *remedy,
		   const char *format, ...)
{
	char what[600];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(what, sizeof what, format, ap);
	va_end(ap);
	sink->row(sink->data, level, area, what, level == LSN_PROBE_OK ? NULL : remedy);
}
