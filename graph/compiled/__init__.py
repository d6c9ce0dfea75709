"""Compiled reads: a whole query operation as one SQL statement that builds the answer's JSON.

Called by graph.view, with what it has admitted; whoever wants a field compiled declares it
(graph.columns, docs/compiled-reads.md) and never comes here. A shape of an operation is compiled
once (`plans`) from the declarations of its types (`objects`, `pages`, `leaves`) and their very
querysets, and then only bound and sent (`running`). Whatever does not fit, or would be an error,
is left to the ordinary executor, as a whole.
"""

from graph.compiled.running import Answer, answer

__all__ = ["Answer", "answer"]
