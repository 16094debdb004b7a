#!/usr/bin/env python3
"""tools/line-widths finds what is too wide, and nothing else."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = 'word ' * 30  # 150 columns
LONG = 'call(' + 'x, ' * 40 + 'x)'  # 126 columns


class LineWidths(unittest.TestCase):
    def found(self, name, text):
        """The numbers of the lines that are found in a file of this name."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            with open(path, 'w') as file:
                file.write(text)
            program = [sys.executable, os.path.join(ROOT, 'tools/line-widths'), path]
            run = subprocess.run(program, stdout=subprocess.PIPE, universal_newlines=True)
        lines = [int(line.split(':')[1]) for line in run.stdout.splitlines() if line.startswith(path)]
        self.assertEqual(run.returncode, 1 if lines else 0)
        return lines

    def test_c(self):
        text = '/* %s */\nint x; /* short */\n%s;\nconst char *s = "/* %s";\n\t/* %s */\n'
        self.assertEqual(self.found('a.c', text % (WORDS, LONG, 'x ' * 20, 'y ' * 44)), [1, 3, 5])
        self.assertEqual(self.found('a.h', '/* first\n * %s\n */\n' % WORDS), [2])
        self.assertEqual(self.found('a.c', '\t' * 12 + '/* tabs count as eight */\n'), [1])

    def test_python(self):
        self.assertEqual(self.found('a.py', '"""%s"""\n# %s\n%s\n' % (WORDS, WORDS, LONG)), [1, 2, 3])
        self.assertEqual(self.found('a.py', 'text = "%s"\nother = """\n%s\n"""\n' % (WORDS, WORDS)), [])
        self.assertEqual(self.found('a.py', 'def f():\n    """%s"""\n' % WORDS), [2])

    def test_documents(self):
        text = '%s\n\n| %s |\n\n    %s\n\n```\n%s\n```\n\nhttps://example.org/%s\n'
        self.assertEqual(self.found('a.md', text % (WORDS, WORDS, WORDS, WORDS, 'x' * 100)), [1])
        self.assertEqual(self.found('a.5', '.PP\n%s\n' % WORDS), [2])

    def test_scripts(self):
        self.assertEqual(self.found('a.mk', '# %s\nall: %s\n' % (WORDS, WORDS)), [1])
        self.assertEqual(self.found('a.ini', '# %s\nkey = %s\n' % (WORDS, WORDS)), [1])


if __name__ == '__main__':
    unittest.main()
