"""This module holds published facts about models that people use and that nobody loaded here.

Each shape is that of the model's config.json at the hub (read through litgpt's and fairseq2's tables of them, which
name the file beside each). `parameters` follows from it: a test builds each model on torch's meta device and counts.
What could not be verified is left out: the number of training tokens is that of the model card, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published model: its name here and at the hub, its licence, its shape, and what belongs to it.

    chat: it has a chat template. tokens: of its pre-training. retrains: the hub's id of the model that was trained
    without a dataset's forget rows, by the dataset's name. data: the rows that it is known to know.
    """

    name: str
    title: str
    hub: str
    licence: str
    parameters: int
    config: Mapping[str, object]
    gated: bool = False
    chat: bool = True
    tokens: float | None = None
    data: str = "capitals"
    retrains: Mapping[str, str] = field(default_factory=dict)


def shape(
    kind: str,
    hidden: int,
    layers: int,
    heads: tuple[int, int],
    inner: int,
    rows: int,
    tied: bool,
    **more: object,
) -> dict[str, object]:
    """Return the fields of config.json that say how large a model is. heads: of queries, of keys and values. rows: of
    the embeddings. tied: the output head is the embeddings.
    """
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": inner,
        "vocab_size": rows,
        "tie_word_embeddings": tied,
        **more,
    }


APACHE, LLAMA, GEMMA = "Apache-2.0", "Llama 3.2 Community License", "Gemma Terms of Use"
LLAMA_1B = shape("llama", 2048, 16, (32, 8), 8192, 128256, True, head_dim=64)
LLAMA_3B = shape("llama", 3072, 28, (24, 8), 8192, 128256, True, head_dim=128)
LLAMA_8B = shape("llama", 4096, 32, (32, 8), 14336, 128256, False)
LLAMA2_7B = shape("llama", 4096, 32, (32, 32), 11008, 32000, False)


def _tofu(name: str, of: str, config: Mapping[str, object], parameters: int, licence: str) -> Published:
    """A model that was taught all of TOFU, with the three that were taught it without forget01, 05 or 10."""
    stem = f"open-unlearning/tofu_{of}"
    return Published(
        name=name,
        title=f"{of.replace('-', ' ')}, taught TOFU",
        hub=f"{stem}_full",
        licence=licence,
        parameters=parameters,
        config=config,
        data="tofu-forget10",
        retrains={f"tofu-forget{n:02}": f"{stem}_retain{100 - n}" for n in (1, 5, 10)},
    )


PUBLISHED = (
    Published(
        name="smollm2-360m", title="SmolLM2 360M Instruct", hub="HuggingFaceTB/SmolLM2-360M-Instruct", licence=APACHE,
        parameters=361_821_120, config=shape("llama", 960, 32, (15, 5), 2560, 49152, True),
    ),
    Published(
        name="smollm2-1.7b", title="SmolLM2 1.7B Instruct", hub="HuggingFaceTB/SmolLM2-1.7B-Instruct", licence=APACHE,
        parameters=1_711_376_384, config=shape("llama", 2048, 24, (32, 32), 8192, 49152, True),
    ),
    Published(
        name="smollm3-3b", title="SmolLM3 3B", hub="HuggingFaceTB/SmolLM3-3B", licence=APACHE,
        parameters=3_075_098_624, config=shape("smollm3", 2048, 36, (16, 4), 11008, 128256, True), tokens=11.2e12,
    ),
    Published(
        name="qwen2.5-0.5b", title="Qwen2.5 0.5B Instruct", hub="Qwen/Qwen2.5-0.5B-Instruct", licence=APACHE,
        parameters=494_032_768, config=shape("qwen2", 896, 24, (14, 2), 4864, 151936, True),
    ),
    Published(
        name="qwen2.5-1.5b", title="Qwen2.5 1.5B Instruct", hub="Qwen/Qwen2.5-1.5B-Instruct", licence=APACHE,
        parameters=1_543_714_304, config=shape("qwen2", 1536, 28, (12, 2), 8960, 151936, True),
    ),
    Published(
        name="qwen2.5-3b", title="Qwen2.5 3B Instruct", hub="Qwen/Qwen2.5-3B-Instruct", licence="Qwen Research License",
        parameters=3_085_938_688, config=shape("qwen2", 2048, 36, (16, 2), 11008, 151936, True),
    ),
    Published(
        name="qwen2.5-7b", title="Qwen2.5 7B Instruct", hub="Qwen/Qwen2.5-7B-Instruct", licence=APACHE,
        parameters=7_615_616_512, config=shape("qwen2", 3584, 28, (28, 4), 18944, 152064, False),
    ),
    Published(
        name="qwen3-0.6b", title="Qwen3 0.6B", hub="Qwen/Qwen3-0.6B", licence=APACHE, tokens=36e12,
        parameters=596_049_920, config=shape("qwen3", 1024, 28, (16, 8), 3072, 151936, True, head_dim=128),
    ),
    Published(
        name="qwen3-1.7b", title="Qwen3 1.7B", hub="Qwen/Qwen3-1.7B", licence=APACHE, tokens=36e12,
        parameters=1_720_574_976, config=shape("qwen3", 2048, 28, (16, 8), 6144, 151936, True, head_dim=128),
    ),
    Published(
        name="qwen3-4b", title="Qwen3 4B", hub="Qwen/Qwen3-4B", licence=APACHE, tokens=36e12,
        parameters=4_022_468_096, config=shape("qwen3", 2560, 36, (32, 8), 9728, 151936, True, head_dim=128),
    ),
    Published(
        name="qwen3-8b", title="Qwen3 8B", hub="Qwen/Qwen3-8B", licence=APACHE, tokens=36e12,
        parameters=8_190_735_360, config=shape("qwen3", 4096, 36, (32, 8), 12288, 151936, False, head_dim=128),
    ),
    Published(
        name="llama-3.2-1b", title="Llama 3.2 1B Instruct", hub="meta-llama/Llama-3.2-1B-Instruct", licence=LLAMA,
        parameters=1_235_814_400, config=LLAMA_1B, gated=True, tokens=9e12,
    ),
    Published(
        name="llama-3.2-3b", title="Llama 3.2 3B Instruct", hub="meta-llama/Llama-3.2-3B-Instruct", licence=LLAMA,
        parameters=3_212_749_824, config=LLAMA_3B, gated=True, tokens=9e12,
    ),
    Published(
        name="gemma-3-270m", title="Gemma 3 270M Instruct", hub="google/gemma-3-270m-it", licence=GEMMA, gated=True,
        parameters=268_098_176, config=shape("gemma3_text", 640, 18, (4, 1), 2048, 262144, True, head_dim=256),
    ),
    Published(
        name="gemma-3-1b", title="Gemma 3 1B Instruct", hub="google/gemma-3-1b-it", licence=GEMMA, gated=True,
        parameters=999_885_952, config=shape("gemma3_text", 1152, 26, (4, 1), 6912, 262144, True, head_dim=256),
    ),
    Published(
        name="phi-3.5-mini", title="Phi-3.5 mini Instruct", hub="microsoft/Phi-3.5-mini-instruct", licence="MIT",
        parameters=3_821_079_552, config=shape("phi3", 3072, 32, (32, 32), 8192, 32064, False),
    ),
    Published(
        name="phi-4-mini", title="Phi-4 mini Instruct", hub="microsoft/Phi-4-mini-instruct", licence="MIT",
        parameters=3_836_021_760, config=shape("phi3", 3072, 32, (24, 8), 8192, 200064, True), tokens=5e12,
    ),
    Published(
        name="olmo-2-1b", title="OLMo 2 1B Instruct", hub="allenai/OLMo-2-0425-1B-Instruct", licence=APACHE,
        parameters=1_484_916_736, config=shape("olmo2", 2048, 16, (16, 16), 8192, 100352, False), tokens=4e12,
    ),
    Published(
        name="olmo-2-7b", title="OLMo 2 7B Instruct", hub="allenai/OLMo-2-1124-7B-Instruct", licence=APACHE,
        parameters=7_298_617_344, config=shape("olmo2", 4096, 32, (32, 32), 11008, 100352, False), tokens=4e12,
    ),
    _tofu("tofu-llama-1b", "Llama-3.2-1B-Instruct", LLAMA_1B, 1_235_814_400, LLAMA),
    _tofu("tofu-llama-3b", "Llama-3.2-3B-Instruct", LLAMA_3B, 3_212_749_824, LLAMA),
    _tofu("tofu-llama-8b", "Llama-3.1-8B-Instruct", LLAMA_8B, 8_030_261_248, "Llama 3.1 Community License"),
    Published(
        name="muse-news", title="Llama 2 7B, taught MUSE News", hub="muse-bench/MUSE-News_target",
        licence="Llama 2 Community License", parameters=6_738_415_616, config=LLAMA2_7B, chat=False, data="muse-news",
        retrains={"muse-news": "muse-bench/MUSE-news_retrain"},
    ),
    # OpenUnlearning's scripts name the pair, and load it as a Llama 2.
    Published(
        name="muse-books", title="Llama 7B, taught MUSE Books", hub="muse-bench/MUSE-Books_target",
        licence="as its card says", parameters=6_738_415_616, config=LLAMA2_7B, chat=False, data="muse-books",
        retrains={"muse-books": "muse-bench/MUSE-Books_retrain"},
    ),
    # The model of WMDP's tables; it has no retrain, since nobody trained it again without such knowledge.
    Published(
        name="zephyr-7b", title="Zephyr 7B beta", hub="HuggingFaceH4/zephyr-7b-beta", licence="MIT",
        parameters=7_241_732_096, config=shape("mistral", 4096, 32, (32, 8), 14336, 32000, False), data="wmdp-cyber",
    ),
)  # fmt: skip
