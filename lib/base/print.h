/* All that the programs print for people and in tables goes through this file, because names, users,
 * labels, sentences and errors may come from anybody: a text with ESC or a line feed in it could
 * draw on a terminal what Berth never said. Each function prints the visible form (core/utf8.h). */
#ifndef BERTH_LIB_BASE_PRINT_H
#define BERTH_LIB_BASE_PRINT_H

#include <stdio.h>

/* Prints a part of a line: no format or argument brings a line feed. */
void print_part(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, and ends the line. */
void print_line(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints a text of several lines that Berth itself has laid out, such as indented JSON or PEM; ends
 * its last line if it does not. */
void print_lines(FILE *out, const char *text);
/* Prints one JSON text and ends the line. The bytes are unchanged; only on a terminal the visible
 * form is printed, which is the same JSON value. */
void print_json(FILE *out, const char *json);

/* The visible form; caller frees. */
char *print_visible(const char *text);

#endif
